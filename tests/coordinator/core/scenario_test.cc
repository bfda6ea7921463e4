// Every script of tests/scenarios.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "tests/coordinator/core/scenario.h"

namespace entrain::core {
namespace {

std::vector<std::string> Scripts() {
  std::vector<std::string> scripts;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(ENTRAIN_SOURCE_DIR) + "/tests/scenarios")) {
    if (entry.path().extension() == ".txt") scripts.push_back(entry.path().stem().string());
  }
  std::sort(scripts.begin(), scripts.end());
  return scripts;
}

class ScenarioTest : public testing::TestWithParam<std::string> {};

TEST_P(ScenarioTest, Holds) {
  const auto script = ReadFile(StrCat(ENTRAIN_SOURCE_DIR, "/tests/scenarios/", GetParam(), ".txt"));
  ASSERT_TRUE(script.ok()) << script.status();
  for (const std::string& problem : RunScenario(*script)) ADD_FAILURE() << problem;
}

INSTANTIATE_TEST_SUITE_P(All, ScenarioTest, testing::ValuesIn(Scripts()), [](const auto& script) { return script.param; });

// The runner itself notices what a script gets wrong.
TEST(ScenarioRunner, ReportsAnExpectationThatDoesNotHold) {
  EXPECT_FALSE(RunScenario("submit s1\nexpect run s1.1 running\n").empty());
  EXPECT_FALSE(RunScenario("submit s1\njoin w1\nexpect launch w1 s1.1@2\n").empty());
  EXPECT_FALSE(RunScenario("submit s1\njoin w1\nexpect none\n").empty());
  EXPECT_TRUE(RunScenario("submit s1\njoin w1\nexpect run s1.1 starting\n").empty());
}

}  // namespace
}  // namespace entrain::core
