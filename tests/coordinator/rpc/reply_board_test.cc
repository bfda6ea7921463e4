#include "coordinator/rpc/reply_board.h"

#include <thread>

#include <gtest/gtest.h>

namespace entrain::rpc {
namespace {

TEST(ReplyBoardTest, AnAnswerReachesItsCallerWhicheverComesFirst) {
  ReplyBoard board;
  const auto first = board.Open();
  const auto second = board.Open();
  EXPECT_NE(first, second);
  board.Deliver({second, absl::OkStatus(), "two"});
  EXPECT_EQ(board.Await(second, 0)->id, "two");
  std::thread core([&] { board.Deliver({first, absl::NotFoundError("no"), ""}); });
  EXPECT_EQ(board.Await(first, 10'000)->status.code(), absl::StatusCode::kNotFound);
  core.join();
}

TEST(ReplyBoardTest, WaitingEnds) {
  ReplyBoard board;
  EXPECT_EQ(board.Await(board.Open(), 1).status().code(), absl::StatusCode::kDeadlineExceeded);
  const auto request = board.Open();
  board.Close();
  EXPECT_EQ(board.Await(request, 60'000).status().code(), absl::StatusCode::kUnavailable);
}

TEST(ReplyBoardTest, AnswersThatNobodyAwaitsAreDropped) {
  ReplyBoard board;
  board.Deliver({77, absl::OkStatus(), ""});
  const auto request = board.Open();
  board.Drop(request);
  board.Deliver({request, absl::OkStatus(), ""});
}

}  // namespace
}  // namespace entrain::rpc
