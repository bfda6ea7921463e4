#include "reports/thin.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reports/base64.h"

namespace entrain::reports {
namespace {

using ::testing::ElementsAre;

TEST(ThinTest, KeepsEndsAndExtremesWithinTheLimit) {
  Rng rng(3, 0);
  std::vector<double> values;
  for (int i = 0; i < 10'000; ++i) values.push_back(rng.Normal());
  values[4321] = 50;
  values[8765] = -50;
  const auto indices = ThinIndices(values, 200);
  EXPECT_LE(indices.size(), 200u);
  EXPECT_GT(indices.size(), 150u);
  EXPECT_TRUE(std::is_sorted(indices.begin(), indices.end()));
  for (std::size_t kept : {std::size_t{0}, std::size_t{4321}, std::size_t{8765}, std::size_t{9999}}) {
    EXPECT_TRUE(std::binary_search(indices.begin(), indices.end(), kept)) << kept;
  }
}

TEST(ThinTest, NeverThinsAwayANan) {
  std::vector<double> values(1000, 1.0);
  values[777] = std::nan("");
  const auto indices = ThinIndices(values, 10);
  EXPECT_TRUE(std::binary_search(indices.begin(), indices.end(), std::size_t{777}));
}

TEST(ThinTest, ShortSeriesStayWhole) {
  EXPECT_THAT(ThinIndices({1, 2, 3}, 10), ElementsAre(0, 1, 2));
  EXPECT_THAT(ThinIndices({}, 10), ElementsAre());
  EXPECT_THAT(EvenIndices(11, 3), ElementsAre(0, 5, 10));
  EXPECT_THAT(EvenIndices(0, 3), ElementsAre());
}

TEST(Base64Test, IsThatOfTheStandard) {
  // "Man" and "Ma" as little-endian words.
  EXPECT_EQ(Base64({0x614D, 0x4D6E, 0x6E61}), "TWFuTWFu");
  EXPECT_EQ(Base64({0x614D}), "TWE=");
  EXPECT_EQ(Base64({0x614D, 0x614D}), "TWFNYQ==");
  EXPECT_EQ(Base64({}), "");
}

TEST(Base64Test, SharesAreClampedAndNanIsMarked) {
  EXPECT_EQ(QuantiseShare(1.5, 3.0), 32500);
  EXPECT_EQ(QuantiseShare(-1, 3.0), 0);
  EXPECT_EQ(QuantiseShare(4, 3.0), 65534);
  EXPECT_EQ(QuantiseShare(std::nan(""), 3.0), 65535);
  EXPECT_EQ(QuantiseShare(1, 0.0), 65535);
}

}  // namespace
}  // namespace entrain::reports
