#include <nlohmann/json.hpp>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "reports/report.h"
#include "tests/reports/sample_sweep.h"

namespace entrain::reports {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

nlohmann::json DataOf(const std::string& html) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = html.find(open) + open.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

std::size_t CountOf(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(ReportHtmlTest, HoldsEveryRunAndItsCurves) {
  const auto data = DataOf(ReportHtml(MakeSampleSweep()));
  ASSERT_EQ(data["runs"].size(), 16u);
  EXPECT_EQ(data["rows"].size(), 8u);
  const auto& run = data["runs"][0];
  EXPECT_EQ(run["loss"]["s"].front(), 1);
  EXPECT_EQ(run["loss"]["s"].back(), 200);
  EXPECT_EQ(run["loss"]["s"].size(), run["loss"]["v"].size());
  EXPECT_EQ(run["eval"]["s"].size(), 8u);
  // Three 16-bit shares a layer and point, in base64.
  EXPECT_EQ(run["entropy"]["d"].get<std::string>().size(), (run["entropy"]["s"].size() * 6 * 3 * 2 + 2) / 3 * 4);
  EXPECT_EQ(run["frames"]["d"].get<std::string>().size(), (run["frames"]["s"].size() * 24 * 2 + 2) / 3 * 4);
  EXPECT_TRUE(run["theta"].is_null());
  EXPECT_EQ(data["runs"][7]["theta"]["last"].size(), 24u);
  EXPECT_EQ(data["runs"][5]["verdict"]["rule"], "collapse.whole_layer");
  EXPECT_EQ(data["runs"][5]["verdict"]["heads"], nlohmann::json({20, 21, 22, 23}));
}

TEST(ReportHtmlTest, AsksTheNetworkForNothing) {
  std::string html = ReportHtml(MakeSampleSweep());
  EXPECT_EQ(CountOf(html, "://"), CountOf(html, "http://www.w3.org/2000/svg"));
  EXPECT_THAT(html, HasSubstr("default-src 'none'"));
  EXPECT_THAT(html, Not(HasSubstr("@import")));
  EXPECT_THAT(html, Not(HasSubstr("{{")));
}

TEST(ReportHtmlTest, WhatCameFromOutsideIsTextOnly) {
  const std::string hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{data}}\xff\"'";
  SweepData sweep = MakeSampleSweep({.seeds = 1});
  const std::string plain = ReportHtml(sweep);
  sweep.name = sweep.owner = sweep.yaml = sweep.hardware = sweep.build = sweep.dataset = hostile;
  for (RunData& run : sweep.runs) {
    run.label = run.variant = run.reason = run.config_json = hostile;
    run.axes["x"] = hostile;
    run.verdict.rule = run.verdict.explanation = hostile;
  }
  const std::string html = ReportHtml(sweep);
  EXPECT_EQ(CountOf(html, "<script"), CountOf(plain, "<script"));
  EXPECT_EQ(CountOf(html, "</script"), CountOf(plain, "</script"));
  EXPECT_THAT(html, Not(HasSubstr("<img")));
  EXPECT_EQ(DataOf(html)["runs"].size(), 8u);
  EXPECT_THAT(DataOf(html)["runs"][0]["label"].get<std::string>(), HasSubstr("</script><script>alert(1)"));
}

TEST(ReportHtmlTest, NonFiniteNumbersAndMissingEntropiesDoNotBreakIt) {
  SweepData sweep = MakeSampleSweep({.seeds = 1});
  for (auto& sample : sweep.runs[0].samples) sample.loss = std::nan("");
  for (auto& sample : sweep.runs[1].samples) sample.entropy_nats.assign(24, std::nanf(""));
  for (auto& sample : sweep.runs[2].samples) sample.entropy_nats.clear();
  sweep.runs[3].samples.clear();
  sweep.runs[4].n_layer = 0;
  sweep.runs[5].evaluations = {{.step = 10, .loss = INFINITY}};
  const auto data = DataOf(ReportHtml(sweep));
  EXPECT_TRUE(data["runs"][0]["loss"]["v"][0].is_null());
  EXPECT_EQ(data["runs"][2]["frames"]["s"].size(), 0u);
  EXPECT_TRUE(data["runs"][3]["result"]["bands"].is_null());
  EXPECT_EQ(DataOf(ReportHtml({}))["runs"].size(), 0u);
}

// 100 runs of 10,000 steps of GPT-2 small are below 10 MB: every figure is at its limit of points long before 3,000 steps.
TEST(ReportHtmlTest, AHundredLongRunsAreBelowTenMegabytes) {
  SweepData sweep = MakeSampleSweep({.seeds = 1, .steps = 3'000, .n_layer = 12, .n_head = 12});
  const std::vector<RunData> variants = sweep.runs;
  while (sweep.runs.size() < 100) sweep.runs.push_back(variants[sweep.runs.size() % variants.size()]);
  const std::string html = ReportHtml(sweep);
  EXPECT_LT(html.size(), 10'000'000u);
  EXPECT_GT(html.size(), 2'000'000u);
}

}  // namespace
}  // namespace entrain::reports
