#include "cli/local/children.h"

#include <csignal>
#include <thread>

#include "base/files.h"
#include "base/strings.h"
#include "gtest/gtest.h"

namespace entrain::cli::local {
namespace {

std::string LogPath(const std::string& name) { return StrCat(testing::TempDir(), "/child-", name, "-", ::getpid(), ".log"); }

// Polls, with a deadline, until the child ended.
std::string AwaitEnd(Child* child, const Interrupts& interrupts, int* exit_code) {
  std::string how;
  for (int i = 0; i < 200 && !child->Ended(&how, exit_code); ++i) interrupts.Wait(50);
  return how;
}

TEST(ChildTest, OutputGoesToTheLogAndTheEndIsTold) {
  const Interrupts interrupts;
  Child child("sh", LogPath("exit"), &interrupts);
  ASSERT_TRUE(child.Start({"/bin/sh", "-c", "echo one; echo two >&2; exit 7"}).ok());
  int exit_code = 0;
  EXPECT_EQ(AwaitEnd(&child, interrupts, &exit_code), "exit code 7");
  EXPECT_EQ(exit_code, 7);
  EXPECT_FALSE(child.running());
  EXPECT_EQ(child.LogTail(5), "one\ntwo\n");
  EXPECT_EQ(child.LogTail(1), "two\n");
  // The tail of the next life does not show the last one's.
  ASSERT_TRUE(child.Start({"/bin/sh", "-c", "echo three"}).ok());
  AwaitEnd(&child, interrupts, &exit_code);
  EXPECT_EQ(child.LogTail(5), "three\n");
}

TEST(ChildTest, SignalsOfTheParentAreNotHeldBackInTheChild) {
  const Interrupts interrupts;
  Child child("sleep", LogPath("signal"), &interrupts);
  ASSERT_TRUE(child.Start({"/bin/sleep", "60"}).ok());
  child.Signal(SIGTERM);
  int exit_code = 0;
  EXPECT_EQ(AwaitEnd(&child, interrupts, &exit_code), "signal 15 (Terminated)");
}

TEST(ChildTest, ACtrlCAtTheTerminalDoesNotReachIt) {
  const Interrupts interrupts;
  Child child("sleep", LogPath("session"), &interrupts);
  ASSERT_TRUE(child.Start({"/bin/sleep", "60"}).ok());
  // The child leads its own session once it has come that far.
  for (int i = 0; i < 200 && ::getsid(child.pid()) != child.pid(); ++i) interrupts.Wait(10);
  EXPECT_EQ(::getsid(child.pid()), child.pid());
  child.Signal(SIGKILL);
  int exit_code = 0;
  AwaitEnd(&child, interrupts, &exit_code);
}

TEST(ChildTest, ItEndsWithTheThreadThatStartedIt) {
  const Interrupts interrupts;
  Child child("sleep", LogPath("orphan"), &interrupts);
  std::thread([&] {
    ASSERT_TRUE(child.Start({"/bin/sleep", "60"}).ok());
    for (int i = 0; i < 200 && ::getsid(child.pid()) != child.pid(); ++i) interrupts.Wait(10);
    interrupts.Wait(100);
  }).join();
  int exit_code = 0;
  EXPECT_EQ(AwaitEnd(&child, interrupts, &exit_code), "signal 15 (Terminated)");
}

TEST(RestartPolicyTest, AtOnceThenLaterThenNever) {
  RestartPolicy policy;
  EXPECT_EQ(policy.NextStartMs(0, 60'000), 60'000);
  EXPECT_EQ(policy.NextStartMs(60'000, 61'000), 61'500);
  EXPECT_EQ(policy.NextStartMs(61'500, 62'000), 63'000);
  EXPECT_EQ(policy.NextStartMs(63'000, 63'500), 65'500);
  EXPECT_EQ(policy.NextStartMs(65'500, 66'000), 70'000);
  EXPECT_EQ(policy.NextStartMs(70'000, 70'500), -1);
  // A long life forgives.
  EXPECT_EQ(policy.NextStartMs(100'000, 120'000), 120'000);
}

}  // namespace
}  // namespace entrain::cli::local
