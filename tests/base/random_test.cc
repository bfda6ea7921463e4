#include "base/random.h"

#include <gtest/gtest.h>

#include <vector>

namespace entrain {
namespace {

TEST(Philox, MatchesThePublishedKnownAnswers) {
  // Random123's kat_vectors for philox4x32-10.
  using Words = std::array<std::uint32_t, 4>;
  EXPECT_EQ(Philox(0, 0, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint64_t ones = ~std::uint64_t{0};
  EXPECT_EQ(Philox(ones, ones, ones), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
}

TEST(Permutation, VisitsEveryPlaceOnce) {
  for (std::uint64_t n : {1, 2, 3, 17, 256, 1000}) {
    Permutation permutation(n, 7, 3);
    std::vector<int> seen(n, 0);
    for (std::uint64_t i = 0; i < n; ++i) ++seen[permutation(i)];
    EXPECT_EQ(seen, std::vector<int>(n, 1)) << "n=" << n;
  }
}

}  // namespace
}  // namespace entrain
