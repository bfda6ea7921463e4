#include "coordinator/pool/command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

namespace entrain::pool {
namespace {

using testing::HasSubstr;

class CommandTest : public testing::Test {
 protected:
  // As the coordinator does.
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
};

TEST_F(CommandTest, GivesWhatTheCommandSaidAndHowItEnded) {
  const auto result = RunCommand({"/bin/sh", "-c", "cat; echo bad >&2; exit 3"}, {"PATH=/usr/bin:/bin"}, "good\n", 60'000);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "good\n");
  EXPECT_EQ(result->errors, "bad\n");
  EXPECT_EQ(result->exit_code, 3);
}

TEST_F(CommandTest, ArgumentsAreNoShellsWords) {
  const auto result = RunCommand({"/bin/echo", "-n", "$(id) 'a' ;b"}, {}, "", 60'000);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "$(id) 'a' ;b");
}

TEST_F(CommandTest, InheritsWhatItIsGivenAlone) {
  ::setenv("ENTRAIN_SECRET", "x", 1);
  const auto result = RunCommand({"/usr/bin/env"}, {"A=b"}, "", 60'000);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->output, "A=b\n");
}

TEST_F(CommandTest, FeedsMoreThanAPipeHoldsAndMindsNoReaderThatDoesNotRead) {
  const std::string much(1 << 20, 'x');
  const auto counted = RunCommand({"/usr/bin/wc", "-c"}, {}, much, 60'000);
  ASSERT_TRUE(counted.ok()) << counted.status();
  EXPECT_EQ(counted->output, "1048576\n");
  const auto ignored = RunCommand({"/bin/true"}, {}, much, 60'000);
  ASSERT_TRUE(ignored.ok()) << ignored.status();
  EXPECT_EQ(ignored->exit_code, 0);
}

TEST_F(CommandTest, EndsWhatDoesNotEnd) {
  EXPECT_EQ(RunCommand({"/bin/sleep", "1000"}, {}, "", 50).status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(RunCommand({"/bin/sh", "-c", "exec >&- 2>&-; exec sleep 1000"}, {"PATH=/usr/bin:/bin"}, "", 300).status().code(),
            absl::StatusCode::kDeadlineExceeded);
}

TEST_F(CommandTest, RefusesToReadForEver) {
  const auto result = RunCommand({"/usr/bin/yes"}, {}, "", 60'000);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted);
}

TEST_F(CommandTest, NamesAProgramThatIsNotThere) {
  const auto result = RunCommand({"/no/such/sbatch"}, {}, "", 60'000);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("/no/such/sbatch"));
}

}  // namespace
}  // namespace entrain::pool
