#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reports/number_text.h"
#include "reports/report.h"
#include "tests/reports/sample_sweep.h"

namespace entrain::reports {
namespace {

using ::testing::HasSubstr;

void ExpectAtMost100Columns(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(DisplayWidth(line), 100u) << line;
}

TEST(LeaderboardTextTest, FitsAndExplainsTheStop) {
  const std::string text = LeaderboardText(MakeLeaderboard(MakeSampleSweep()));
  ExpectAtMost100Columns(text);
  EXPECT_THAT(text, HasSubstr("2 halted (collapse) at step 120: every head of layer 5 was below"));
  EXPECT_THAT(text, HasSubstr("* no run of this variant trained to its end"));
}

TEST(LeaderboardTextTest, FitsWhateverTheNamesAndNumbers) {
  SweepData sweep = MakeSampleSweep();
  for (RunData& run : sweep.runs) {
    run.variant += " with a very long name indeed äöü";
    run.axes["train.learning_rate"] = "0.00030000000001";
    run.reason = run.verdict.explanation = std::string(250, 'x') + " and\nmore";
    for (auto& evaluation : run.evaluations) evaluation.loss *= 20;
  }
  const std::string text = LeaderboardText(MakeLeaderboard(sweep));
  ExpectAtMost100Columns(text);
  EXPECT_THAT(text, HasSubstr("e+"));
  EXPECT_THAT(text, HasSubstr("…"));
}

TEST(LeaderboardTextTest, ColumnsLineUp) {
  LeaderboardRow row;
  row.variant = "SM+G";
  row.n = row.runs = 2;
  row.completed = true;
  row.perplexity_mean = 8.5;
  row.perplexity_spread = 0.25;
  row.loss_mean = 2.125;
  row.tokens_per_second_mean = 12'345;
  row.bands_log_context = {{1, 2, 1, 0}};
  row.bands_observed = {{0, 1, 0, 3}};
  row.states = {{"succeeded", 2}};
  EXPECT_EQ(LeaderboardText({row}),
            "#  variant    n   perplexity   loss  tok/s  heads/lnT %  heads/max %\n"
            "1  SM+G     2/2  8.50 ± 0.25  2.125  12.3k   25/50/25/0    0/25/0/75\n");
}

TEST(NumberTextTest, IsWhatPeopleRead) {
  EXPECT_EQ(FixedText(2.0049, 2), "2.00");
  EXPECT_EQ(FixedText(std::nan(""), 2), "-");
  EXPECT_EQ(PerplexityText(123456.0), "1.2e+05");
  EXPECT_EQ(PerplexityText(INFINITY), "inf");
  EXPECT_EQ(CountText(950), "950");
  EXPECT_EQ(CountText(1'234'567), "1.23M");
  EXPECT_EQ(DisplayWidth("ä±…a"), 4u);
}

}  // namespace
}  // namespace entrain::reports
