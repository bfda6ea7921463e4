#include "cli/format.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

TEST(FormatTest, DurationsUseTwoUnitsAtMost) {
  EXPECT_EQ(FormatDuration(-1), "-");
  EXPECT_EQ(FormatDuration(0), "0s");
  EXPECT_EQ(FormatDuration(59'499), "59s");
  EXPECT_EQ(FormatDuration(59'500), "1m00s");
  EXPECT_EQ(FormatDuration(185'000), "3m05s");
  EXPECT_EQ(FormatDuration(8'040'000), "2h14m");
  EXPECT_EQ(FormatDuration(273'600'000), "3d04h");
}

TEST(FormatTest, CountsNeverShowFourDigitsBeforeTheUnit) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(999.6), "1.0k");
  EXPECT_EQ(FormatCount(5'230), "5.2k");
  EXPECT_EQ(FormatCount(999'960), "1.00M");
  EXPECT_EQ(FormatCount(124'400'000), "124.40M");
  EXPECT_EQ(FormatCount(NAN), "nan");
}

TEST(FormatTest, Bytes) {
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(3'650'722'202), "3.40 GiB");
}

TEST(FormatTest, PerplexityIsTheExponentialOfTheLoss) {
  EXPECT_EQ(FormatPerplexity(0.0), "-");
  EXPECT_EQ(FormatPerplexity(std::log(4.0)), "4.000");
  EXPECT_EQ(FormatPerplexity(std::log(25.5)), "25.50");
  EXPECT_EQ(FormatPerplexity(std::log(256.0)), "256");
  EXPECT_EQ(FormatPerplexity(1000.0), "inf");
  EXPECT_EQ(FormatPerplexity(std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(FormatTest, UtcIsALabel) {
  EXPECT_EQ(FormatUtc(0), "-");
  EXPECT_EQ(FormatUtc(1'700'000'000'000), "2023-11-14 22:13:20");
}

TEST(FormatTest, WidthCountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("é…█"), 3);
  EXPECT_EQ(DisplayWidth("\x1b[38;2;1;2;3mab\x1b[0m"), 2);
}

TEST(FormatTest, CutAndPad) {
  EXPECT_EQ(Truncated("collapse", 8), "collapse");
  EXPECT_EQ(Truncated("collapse", 5), "coll…");
  EXPECT_EQ(Truncated("collapse", 1), "…");
  EXPECT_EQ(Truncated("collapse", 0), "");
  EXPECT_EQ(PadRight("ab", 4), "ab  ");
  EXPECT_EQ(PadLeft("ab", 4), "  ab");
  EXPECT_EQ(PadLeft("éé", 3), " éé");
}

TEST(FormatTest, WrapsAtSpaces) {
  EXPECT_THAT(Wrapped("every head of layer five", 10, 3), testing::ElementsAre("every head", "of layer", "five"));
  EXPECT_THAT(Wrapped("every head of layer five", 10, 2), testing::ElementsAre("every head", "of layer …"));
  EXPECT_THAT(Wrapped("incomprehensible", 10, 3), testing::ElementsAre("incompreh…"));
  EXPECT_THAT(Wrapped("", 10, 3), testing::IsEmpty());
}

TEST(FormatTest, NothingFromElsewhereReachesTheTerminalAsACommand) {
  EXPECT_EQ(Printable("\x1b]0;title\x07 x\n\ty"), " ]0;title  x  y");
  EXPECT_EQ(Printable("caf\xc3\xa9 \xff\xc3"), "café ??");
  EXPECT_EQ(Printable("\xc2\x9b" "31m"), " 31m");
  EXPECT_EQ(Printable("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80");
}

}  // namespace
}  // namespace entrain::cli
