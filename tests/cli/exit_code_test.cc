#include "cli/exit_code.h"

#include "gtest/gtest.h"

namespace entrain::cli {
namespace {

using domain::RunState;

TEST(ExitCodeTest, TheWorstEndOfASweepCounts) {
  EXPECT_EQ(ExitCodeOf(std::vector<RunState>{RunState::kSucceeded, RunState::kPruned}), 0);
  EXPECT_EQ(ExitCodeOf(std::vector<RunState>{RunState::kSucceeded, RunState::kHalted}), 3);
  EXPECT_EQ(ExitCodeOf(std::vector<RunState>{RunState::kHalted, RunState::kCancelled}), 5);
  EXPECT_EQ(ExitCodeOf(std::vector<RunState>{RunState::kCancelled, RunState::kFailed, RunState::kHalted}), 4);
}

TEST(ExitCodeTest, AnUnreachableCoordinatorIsToldApart) {
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), 69);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), 69);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("")), 1);
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
}

}  // namespace
}  // namespace entrain::cli
