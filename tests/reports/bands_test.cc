#include <cmath>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reports/report.h"

namespace entrain::reports {
namespace {

using ::testing::ElementsAre;

TEST(BandsTest, QuartersOfLnContext) {
  const auto u = static_cast<float>(std::log(64.0));
  const Bands bands = CountBands({0, 0.24f * u, 0.26f * u, 0.51f * u, 0.74f * u, 0.76f * u, u}, 64, BandBasis::kLogContext);
  EXPECT_THAT(bands.quarter, ElementsAre(2, 1, 2, 2));
}

// Paper: a head is in [0, M/4), [M/4, M/2), [M/2, 3M/4) or [3M/4, M] with M the largest head entropy observed.
TEST(BandsTest, QuartersOfTheLargestObserved) {
  const Bands bands = CountBands({0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 1.99f, 0.499f}, 64, BandBasis::kObservedMaximum);
  EXPECT_THAT(bands.quarter, ElementsAre(2, 1, 1, 3));
}

TEST(BandsTest, NotANumberIsInNoQuarterAndAllZeroIsInTheLowest) {
  EXPECT_THAT(CountBands({std::nanf(""), 1.0f}, 64, BandBasis::kObservedMaximum).quarter, ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(CountBands({0, 0}, 64, BandBasis::kObservedMaximum).quarter, ElementsAre(2, 0, 0, 0));
  EXPECT_THAT(CountBands({0, 0}, 1, BandBasis::kLogContext).quarter, ElementsAre(2, 0, 0, 0));
  EXPECT_THAT(CountBands({}, 64, BandBasis::kLogContext).quarter, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace entrain::reports
