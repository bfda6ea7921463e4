#include "transport/signature.h"

#include "gtest/gtest.h"

namespace entrain::transport {
namespace {

TEST(SignatureTest, IsOfOneKeyAndOneMessage) {
  const SigningKey key = SigningKey::Make().value();
  const SigningKey other = SigningKey::Make().value();
  const std::string signature = key.Sign("launch").value();
  EXPECT_NE(key.public_key(), other.public_key());
  EXPECT_TRUE(IsSignedBy(key.public_key(), "launch", signature));
  EXPECT_FALSE(IsSignedBy(other.public_key(), "launch", signature));
  EXPECT_FALSE(IsSignedBy(key.public_key(), "launcH", signature));
  EXPECT_FALSE(IsSignedBy(key.public_key(), "launch", ""));
  EXPECT_FALSE(IsSignedBy("", "launch", signature));
  std::string altered = signature;
  altered[0] = static_cast<char>(altered[0] ^ 1);
  EXPECT_FALSE(IsSignedBy(key.public_key(), "launch", altered));
}

}  // namespace
}  // namespace entrain::transport
