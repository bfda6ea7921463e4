#include "transport/http_post.h"

#include <gtest/gtest.h>

namespace entrain::transport {
namespace {

TEST(HttpUrl, PartsAndDefaults) {
  const auto plain = ParseHttpUrl("http://hooks.example");
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->tls);
  EXPECT_EQ(plain->host, "hooks.example");
  EXPECT_EQ(plain->port, "80");
  EXPECT_EQ(plain->path, "/");
  const auto full = ParseHttpUrl("https://[::1]:8443/a/b?c=d#e");
  ASSERT_TRUE(full.ok());
  EXPECT_TRUE(full->tls);
  EXPECT_EQ(full->host, "::1");
  EXPECT_EQ(full->port, "8443");
  EXPECT_EQ(full->path, "/a/b?c=d");
}

TEST(HttpUrl, WhatCannotBeUsed) {
  for (const char* url : {"ftp://host", "http://", "http://host:0", "http://host:99999", "http://host:a", "http://user@host", "http://ho st",
                          "http://host/a\r\nX: y", "host"}) {
    EXPECT_FALSE(ParseHttpUrl(url).ok()) << url;
  }
}

// RFC 4231, test cases 1 and 2.
TEST(HmacSha256, KnownAnswers) {
  EXPECT_EQ(HmacSha256Hex(std::string(20, '\x0b'), "Hi There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(HmacSha256Hex("Jefe", "what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
}  // namespace entrain::transport
