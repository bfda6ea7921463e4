// 100 runs of 10,000 steps each, through the real store: the report stays below 10 MB. How fast a browser opens it: bench/report.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "coordinator/store/store.h"
#include "tests/reports/long_sweep.h"

namespace entrain::reports {
namespace {

TEST(LongReportTest, AHundredRunsOfTenThousandStepsAreBelowTenMegabytes) {
  const std::string folder = StrCat(::testing::TempDir(), "/long-report-", ::getpid());
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(MakeFolders(folder).ok());
  auto store = store::OpenSqliteStore(folder + "/store.db");
  ASSERT_TRUE(store.ok()) << store.status();
  const auto sweep = SweepThroughStore(store->get(), {.steps = 10'000}, 100, 2'000);
  ASSERT_TRUE(sweep.ok()) << sweep.status();
  ASSERT_EQ(sweep->runs.size(), 100u);
  EXPECT_EQ(sweep->runs[0].samples.back().step, 10'000);
  EXPECT_EQ(sweep->runs[0].samples.size(), 2'001u);
  const std::string html = ReportHtml(*sweep);
  EXPECT_LT(html.size(), 10'000'000u);
  EXPECT_GT(html.size(), 1'000'000u);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace entrain::reports
