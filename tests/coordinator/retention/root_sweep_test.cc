#include "coordinator/retention/root_sweep.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "artifacts/artifact_store.h"
#include "base/clock.h"
#include "base/strings.h"
#include "tests/coordinator/retention/state_maker.h"

namespace entrain::retention {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::int64_t kGraceS = 3'600;

class RootSweepTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = StrCat(testing::TempDir(), "/root-sweep-", testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_ + "/datasets");
    fs::create_directories(root_ + "/checkpoints");
  }
  void TearDown() override { fs::remove_all(root_); }

  // A folder of `files` files of 10 bytes each.
  void Make(const std::string& path, int files = 1) {
    fs::create_directories(root_ + "/" + path);
    for (int i = 0; i < files; ++i) std::ofstream(StrCat(root_, "/", path, "/file", i)) << "0123456789";
  }
  bool Has(const std::string& path) const { return fs::exists(root_ + "/" + path); }
  static std::int64_t NowMs() { return SystemClock().WallMs(); }
  // Path -> kind, of what may go; `later_s` from now.
  std::map<std::string, std::string> Due(std::int64_t later_s, bool owns_root = true) {
    const auto contents = SweepRoot(root_, maker_.state(), {kGraceS, dataset_grace_s_, owns_root}, NowMs() + later_s * 1'000);
    EXPECT_TRUE(contents.ok()) << contents.status();
    std::map<std::string, std::string> due;
    for (const Garbage& garbage : contents->garbage) {
      if (garbage.due_in_s == 0) due[garbage.path] = std::string(ToString(garbage.kind));
    }
    return due;
  }
  std::map<std::string, std::string> DueAfterGrace(bool owns_root = true) { return Due(kGraceS + 60, owns_root); }

  StateMaker maker_;
  std::string root_;
  std::int64_t dataset_grace_s_ = 0;
  artifacts::Pins pins_;
};

std::string PathOf(const RunId& run, AttemptNumber attempt, std::int64_t step) { return artifacts::CheckpointPath({run, attempt}, step); }

TEST_F(RootSweepTest, WhatTheStoreNamesStays) {
  const RunId run = maker_.Start("s1");
  maker_.Checkpoint(run, 10);
  Make(PathOf(run, 1, 10), 3);
  Make("datasets/0123456789abcdef0123456789abcdef");
  EXPECT_THAT(DueAfterGrace(), IsEmpty());
  const auto contents = SweepRoot(root_, maker_.state(), {}, NowMs());
  EXPECT_EQ(contents->used_bytes, 40);
  EXPECT_EQ(contents->dataset_bytes, 10);
}

TEST_F(RootSweepTest, ARetiredCheckpointGoesAtOnce) {
  const RunId run = maker_.Start("s1");
  for (const std::int64_t step : {10, 20}) {
    maker_.Checkpoint(run, step);
    Make(PathOf(run, 1, step));
  }
  maker_.Retire(run, {10});
  EXPECT_THAT(Due(0), ElementsAre(std::pair(PathOf(run, 1, 10), "checkpoint")));
}

TEST_F(RootSweepTest, OnesWhoseReportIsOnItsWayStayAndLeftOversGoAfterTheirGrace) {
  const RunId run = maker_.Start("s1");
  maker_.Checkpoint(run, 20);
  Make(PathOf(run, 1, 30));                                        // published, not reported yet
  Make(PathOf(run, 1, 10));                                        // fell off the list
  Make(PathOf(run, 2, 5));                                         // the store does not know the attempt
  Make(PathOf(RunId("rother"), 1, 5));                             // nor this run
  Make(StrCat("checkpoints/", run.value(), "/1/.incoming-step-00000040"));
  Make("datasets/ffffffffffffffffffffffffffffffff");
  Make("datasets/.incoming-ffffffffffffffffffffffffffffffff");
  Make("datasets/notes");                                          // people's own
  Make("checkpoints/" + run.value() + "/1/notes");
  EXPECT_THAT(Due(kGraceS / 2), IsEmpty());
  const auto due = DueAfterGrace();
  EXPECT_EQ(due.size(), 5U);
  EXPECT_EQ(due.at(PathOf(run, 1, 10)), "orphan");
  EXPECT_EQ(due.at(PathOf(run, 2, 5)), "orphan");
  EXPECT_EQ(due.at(PathOf(RunId("rother"), 1, 5)), "orphan");
  EXPECT_EQ(due.at(StrCat("checkpoints/", run.value(), "/1/.incoming-step-00000040")), "upload");
  EXPECT_EQ(due.at("datasets/.incoming-ffffffffffffffffffffffffffffffff"), "upload");
  maker_.Finish(run, 1);
  EXPECT_EQ(DueAfterGrace().at(PathOf(run, 1, 30)), "orphan");
}

TEST_F(RootSweepTest, ADatasetWithoutASweepGoesOnlyWhereSomebodySaidSo) {
  const std::string dataset = "datasets/ffffffffffffffffffffffffffffffff";
  Make(dataset);
  EXPECT_THAT(DueAfterGrace(), IsEmpty());
  dataset_grace_s_ = 2 * kGraceS;
  EXPECT_THAT(DueAfterGrace(), IsEmpty());
  EXPECT_THAT(Due(2 * kGraceS + 1), ElementsAre(std::pair(dataset, "dataset")));
  EXPECT_THAT(Due(2 * kGraceS + 1, /*owns_root=*/false), IsEmpty());
}

TEST_F(RootSweepTest, InAnotherStoresRootOnlyWhatIsOursGoes) {
  const RunId run = maker_.Start("s1");
  maker_.Checkpoint(run, 20);
  Make(PathOf(run, 1, 10));
  Make(PathOf(RunId("rother"), 1, 5));
  Make("datasets/ffffffffffffffffffffffffffffffff");
  EXPECT_THAT(DueAfterGrace(/*owns_root=*/false), ElementsAre(std::pair(PathOf(run, 1, 10), "orphan")));
}

TEST_F(RootSweepTest, TheFirstStoreClaimsARoot) {
  EXPECT_TRUE(*ClaimRoot(root_, "store-a"));
  EXPECT_TRUE(*ClaimRoot(root_, "store-a"));
  EXPECT_FALSE(*ClaimRoot(root_, "store-b"));
}

TEST_F(RootSweepTest, TheGreatestAttemptOfAnyRunIsFound) {
  EXPECT_EQ(*HighestAttempt(root_), 0U);
  Make(PathOf(RunId("r1"), 3, 5));
  Make(PathOf(RunId("r2"), 1'000'007, 5));
  Make("checkpoints/r2/x99/step-00000001");
  EXPECT_EQ(*HighestAttempt(root_), 1'000'007U);
}

TEST_F(RootSweepTest, CollectingTwiceIsHarmlessAndAPinHoldsIt) {
  const std::string path = PathOf(RunId("r1"), 1, 10);
  Make(path, 3);
  {
    const auto pin = pins_.Hold(path);
    const auto again = pins_.Hold(path);
    EXPECT_FALSE(*Collect(root_, path, pins_));
  }
  EXPECT_TRUE(Has(path));
  EXPECT_TRUE(*Collect(root_, path, pins_));
  EXPECT_TRUE(*Collect(root_, path, pins_));
  EXPECT_FALSE(Has(path));
  EXPECT_TRUE(fs::is_empty(root_ + "/.trash"));
  EXPECT_FALSE(Collect(root_, "../elsewhere", pins_).ok());
}

// Killed at any moment, a deletion leaves the folder whole under its name, or not at all; the next pass ends what it began.
TEST_F(RootSweepTest, AKillLeavesNoHalfDeletedCheckpoint) {
  constexpr int kFiles = 400;
  const std::string path = PathOf(RunId("r1"), 1, 10);
  int cut_short = 0;
  for (int try_number = 0; try_number < 30; ++try_number) {
    Make(path, kFiles);
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      (void)!::write(ready[1], "x", 1);
      (void)Collect(root_, path, pins_);
      ::_exit(0);
    }
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    ::usleep(static_cast<useconds_t>(try_number * 150));
    ::kill(child, SIGKILL);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    ::close(ready[0]);
    ::close(ready[1]);
    if (Has(path)) {
      EXPECT_EQ(std::distance(fs::directory_iterator(root_ + "/" + path), fs::directory_iterator()), kFiles) << "try " << try_number;
    }
    if (Has(".trash") && !fs::is_empty(root_ + "/.trash")) ++cut_short;
    ASSERT_TRUE(EmptyTrash(root_).ok());
    EXPECT_TRUE(!Has(".trash") || fs::is_empty(root_ + "/.trash"));
    fs::remove_all(root_ + "/" + path);
  }
  EXPECT_GT(cut_short, 0) << "no kill fell into a deletion: the test tests nothing";
}

}  // namespace
}  // namespace entrain::retention
