#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "domain/model_config.h"
#include "policy/policy.h"

namespace entrain::policy {
namespace {

TEST(Quantise, KeepsEveryValueWithinHalfAStep) {
  for (const std::int64_t context : {2, 64, 128, 1024}) {
    const double bound = domain::EntropyBoundNats(context);
    std::vector<float> values;
    for (int i = 0; i <= 10'000; ++i) values.push_back(static_cast<float>(bound * i / 10'000));
    const std::vector<float> back = DequantiseEntropy(QuantiseEntropy(values, context), context);
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(back[i], values[i], bound / 130'000 + 1e-6);
  }
}

TEST(Quantise, IsIdempotentForEveryCode) {
  std::vector<std::uint16_t> codes;
  for (int code = 0; code <= 65535; ++code) codes.push_back(static_cast<std::uint16_t>(code));
  EXPECT_EQ(QuantiseEntropy(DequantiseEntropy(codes, 128), 128), codes);
}

TEST(Quantise, KeepsNonFiniteValuesAndClampsTheRest) {
  const float infinity = std::numeric_limits<float>::infinity();
  const auto bound = static_cast<float>(domain::EntropyBoundNats(128));
  const std::vector<float> back =
      DequantiseEntropy(QuantiseEntropy({std::nanf(""), infinity, -infinity, -0.01F, 2 * bound, 1.005F * bound}, 128), 128);
  EXPECT_TRUE(std::isnan(back[0]));
  EXPECT_EQ(back[1], infinity);
  EXPECT_EQ(back[2], -infinity);
  EXPECT_EQ(back[3], 0.0F);
  EXPECT_NEAR(back[4] / bound, 1.00818, 1e-4);
  EXPECT_NEAR(back[5] / bound, 1.005, 1e-4);
}

TEST(Quantise, HasOnlyZeroForOneToken) {
  EXPECT_EQ(DequantiseEntropy(QuantiseEntropy({0.0F, 1.0F}, 1), 1), (std::vector<float>{0.0F, 0.0F}));
}

}  // namespace
}  // namespace entrain::policy
