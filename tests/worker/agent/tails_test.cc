// What the daemon reads from attempt folders and keeps in them.
#include <unistd.h>

#include <atomic>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "gmock/gmock.h"
#include "worker/agent/attempt_journal.h"
#include "worker/agent/event_tail.h"
#include "worker/agent/keyed_tasks.h"
#include "worker/agent/log_tail.h"
#include "worker/agent/text.h"

namespace entrain::agent {
namespace {

using testing::ElementsAre;
using testing::IsNull;
using testing::NotNull;

std::string NewFolder(const std::string& name) {
  const std::string path = StrCat(testing::TempDir(), "/", name, "-", ::getpid());
  std::filesystem::remove_all(path);
  EXPECT_TRUE(MakeFolders(path).ok());
  return path;
}

v1::Launch TestLaunch() {
  v1::Launch launch;
  launch.mutable_key()->set_run_id("run");
  launch.mutable_key()->set_attempt(1);
  launch.set_n_layer(1);
  launch.set_n_head(2);
  return launch;
}

TEST(TextTest, InvalidBytesAreReplacedAndCharactersStayWhole) {
  EXPECT_EQ(ValidUtf8("a\xff" "b\xc3\xa9\xe2\x82", 100), "a?b\xc3\xa9??");
  EXPECT_EQ(ValidUtf8("\xed\xa0\x80\xc0\xaf", 100), "?????");
  EXPECT_EQ(ValidUtf8("ab\xc3\xa9", 3), "ab");
}

TEST(TextTest, MpirunsTagBecomesTheRank) {
  EXPECT_EQ(ReadableLogLine("[1,12]<stderr>:step 3"), "[12] step 3");
  EXPECT_EQ(ReadableLogLine("[warn] a, b <x>: c"), "[warn] a, b <x>: c");
  EXPECT_EQ(ReadableLogLine(""), "");
}

TEST(LogTailTest, WholeLinesGoOnceAndAgainAfterALostConnection) {
  const std::string path = NewFolder("log-tail") + "/log.txt";
  ASSERT_TRUE(WriteFileAtomically(path, "one\ntwo\nhal").ok());
  LogTail tail(path, TestLaunch().key(), 0);
  ASSERT_THAT(tail.NextChunk(false), NotNull());
  EXPECT_THAT(tail.NextChunk(false)->lines(), ElementsAre("one", "two"));
  tail.ChunkSent();
  EXPECT_THAT(tail.NextChunk(false), IsNull());
  tail.Rewind();
  ASSERT_THAT(tail.NextChunk(false), NotNull());
  EXPECT_EQ(tail.NextChunk(false)->last_offset(), 8u);
  tail.ChunkSent();
  tail.Acknowledge(8);
  EXPECT_THAT(tail.NextChunk(false), IsNull());
  EXPECT_FALSE(tail.Delivered());
  ASSERT_THAT(tail.NextChunk(true), NotNull());
  EXPECT_THAT(tail.NextChunk(true)->lines(), ElementsAre("hal"));
  tail.ChunkSent();
  tail.Acknowledge(11);
  EXPECT_TRUE(tail.Delivered());
}

TEST(LogTailTest, WhoFallsTooFarBehindLosesTheOldestLinesCounted) {
  const std::string path = NewFolder("log-backlog") + "/log.txt";
  std::string text;
  for (int i = 0; i < 30'000; ++i) StrAppend(&text, std::string(98, 'x'), "\n");
  ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  LogTail tail(path, TestLaunch().key(), 0);
  std::int64_t lines = 0, dropped = 0;
  while (const v1::LogChunk* chunk = tail.NextChunk(false)) {
    lines += chunk->lines_size();
    dropped += static_cast<std::int64_t>(chunk->dropped_lines());
    const std::uint64_t offset = chunk->last_offset();
    tail.ChunkSent();
    tail.Acknowledge(offset);
  }
  EXPECT_EQ(lines + dropped, 30'000);
  EXPECT_GT(dropped, 15'000);
  EXPECT_EQ(tail.TakeDropped(), dropped);
  EXPECT_TRUE(tail.Delivered());
}

TEST(EventTailTest, OnlyAcknowledgedSegmentsAreDeletedAndTheRestIsSentAgain) {
  const std::string root = NewFolder("event-tail");
  const attempt::AttemptFolder folder(root);
  ASSERT_TRUE(MakeFolders(folder.Path("events")).ok());
  ASSERT_TRUE(MakeFolders(folder.Path("daemon")).ok());
  attempt::EventWriter writer(folder, 200);
  ASSERT_TRUE(writer.Append(attempt::GangReady{4}).ok());
  for (std::int64_t step = 5; step <= 20; ++step) {
    domain::EntropySample sample;
    sample.step = step;
    sample.entropy_nats = {0.1f, 0.2f};
    ASSERT_TRUE(writer.Append(sample).ok());
  }
  EventTail tail(folder, TestLaunch(), Delivery{});
  ASSERT_EQ(tail.ReadNew()->size(), 17u);
  EXPECT_TRUE(tail.progress().ready);
  EXPECT_EQ(tail.progress().last_step, 20);
  EXPECT_FALSE(tail.Delivered());
  ASSERT_THAT(tail.NextBatch(), NotNull());
  EXPECT_EQ(tail.NextBatch()->samples_size(), 16);
  const std::uint64_t end = tail.NextBatch()->last_offset();
  tail.BatchSent();
  EXPECT_THAT(tail.NextBatch(), IsNull());
  tail.Rewind();
  ASSERT_THAT(tail.NextBatch(), NotNull());
  EXPECT_EQ(tail.NextBatch()->samples(0).step(), 5);
  tail.BatchSent();
  EXPECT_EQ(tail.Acknowledge(end), 16);
  EXPECT_TRUE(tail.Delivered());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.Path("events")), std::filesystem::directory_iterator()), 1);

  // A restarted daemon goes on there, and knows what the deleted events said.
  const AttemptJournal journal(root);
  ASSERT_TRUE(journal.WriteDelivery(tail.acknowledged()).ok());
  EventTail next(folder, TestLaunch(), journal.ReadDelivery());
  EXPECT_TRUE(next.ReadNew()->empty());
  EXPECT_TRUE(next.progress().ready);
  EXPECT_EQ(next.progress().last_step, 20);
  EXPECT_THAT(next.NextBatch(), IsNull());
}

TEST(AttemptJournalTest, PublishedCheckpointsAndDamagedDeliveries) {
  const std::string root = NewFolder("journal");
  const AttemptJournal journal(root);
  ASSERT_TRUE(journal.WriteLaunch(TestLaunch()).ok());
  EXPECT_EQ(journal.ReadLaunch()->SerializeAsString(), TestLaunch().SerializeAsString());
  const domain::Checkpoint first{3, 100, "checkpoints/run/3/step-00000100", 12, "abc", 80};
  const domain::Checkpoint second{3, 200, "checkpoints/run/3/a folder", 13, ""};
  ASSERT_TRUE(journal.AddPublished(first).ok());
  ASSERT_TRUE(journal.AddPublished(second).ok());
  EXPECT_THAT(journal.ReadPublished(3), ElementsAre(first, second));
  // As an older daemon wrote it.
  ASSERT_TRUE(WriteFileAtomically(root + "/daemon/published", "100 12 abc checkpoints/run/3/step-00000100\n").ok());
  EXPECT_THAT(journal.ReadPublished(3), ElementsAre(domain::Checkpoint{3, 100, "checkpoints/run/3/step-00000100", 12, "abc", 0}));
  ASSERT_TRUE(WriteFileAtomically(root + "/daemon/delivered", "77 1 5 1").ok());  // cut off
  EXPECT_EQ(journal.ReadDelivery().event_offset, 0u);
}

TEST(KeyedTasksTest, OneKeysTasksRunInOrderAndNeverTogether) {
  std::atomic<int> running = 0;
  std::atomic<bool> together = false;
  std::vector<int> order;
  KeyedTasks tasks(4);
  for (int i = 0; i < 200; ++i) {
    tasks.Add("a", [&, i] {
      if (++running > 1) together = true;
      order.push_back(i);
      --running;
    });
    tasks.Add(StrCat("other ", i), [] {});
  }
  while (!tasks.Idle()) std::this_thread::yield();
  EXPECT_FALSE(together);
  ASSERT_EQ(order.size(), 200u);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace entrain::agent
