// Stored events decided again: on journals of this build, of an earlier one, and on one that was tampered with.
#include "coordinator/server/redecide.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/strings.h"
#include "coordinator/server/core_loop.h"

namespace entrain::server {
namespace {

using testing::HasSubstr;

domain::SubmitSweep SomeSweep(const std::string& key) {
  domain::SubmitSweep event;
  event.proposed_id = SweepId("s" + key);
  event.idempotency_key = key;
  event.spec.owner = "ada";
  domain::RunSpec run;
  run.cell = CellId("c1");
  run.label = "SM";
  run.steps = 10;
  event.spec.runs = {run};
  return event;
}

EventBody Joined(std::uint64_t incarnation) {
  const domain::WorkerInfo info{.id = WorkerId("w1"), .name = "host", .version = "1", .slots = 4, .device = "cpu"};
  return domain::WorkerJoined{info, incarnation, {}};
}

class RedecideTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/redecide-", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    path_ = dir_ + "/coordinator.db";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  // One process of a coordinator that decides these batches; a clean end writes a snapshot.
  void Live(std::vector<std::vector<EventBody>> batches, bool clean_end) {
    auto store = store::OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    samples::PublishedState published;
    CoreLoop loop(store->get(), core::CoreConfig{}, &clock_, &published, nullptr);
    ASSERT_TRUE(loop.Recover().ok());
    const CoreLoop::EffectSink sink = [](const domain::Effect&) {};
    for (std::vector<EventBody>& batch : batches) {
      clock_.Advance(100);
      ASSERT_TRUE(loop.Step(std::move(batch), sink).ok());
    }
    EventQueue closed(1);
    closed.Close();
    if (!clean_end) return;
    ASSERT_TRUE(loop.Run(&closed, sink).ok());
  }
  void TwoLives() {
    Live({{SomeSweep("a"), Joined(1)}, {domain::WorkerHeartbeat{WorkerId("w1"), false}}, {SomeSweep("b")}}, true);
    // Nobody is connected in the second life until the worker joins: the sweep waits.
    Live({{SomeSweep("c")}, {Joined(2)}, {SomeSweep("d"), SomeSweep("e")}}, false);
  }
  store::History Read() {
    auto history = store::ReadHistory(path_);
    EXPECT_TRUE(history.ok()) << history.status();
    return *std::move(history);
  }
  void Sql(const std::string& sql) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
    sqlite3_close(handle);
  }

  std::string dir_;
  std::string path_;
  ManualClock clock_;
};

TEST_F(RedecideTest, TwoProcessesEventsGiveTheSameFacts) {
  TwoLives();
  const store::History history = Read();
  EXPECT_NE(history.events.front().term, history.events.back().term);
  const Redecision result = Redecide(history, {});
  EXPECT_EQ(result.difference, "");
  EXPECT_EQ(result.events, static_cast<std::int64_t>(history.events.size()));
  EXPECT_EQ(result.facts, static_cast<std::int64_t>(history.facts.size()));
  EXPECT_EQ(TextOf(result), StrCat(history.events.size(), " events give the same ", history.facts.size(), " facts\n"));
}

TEST_F(RedecideTest, TheFirstOtherFactIsShown) {
  TwoLives();
  const store::History history = Read();
  for (std::size_t i = 0; i < history.facts.size(); ++i) {
    store::History other = history;
    other.facts[i].at_ms += 1;
    const Redecision result = Redecide(other, {});
    EXPECT_LE(result.facts, static_cast<std::int64_t>(i));
    EXPECT_THAT(result.difference, HasSubstr("stored: at_ms: ")) << i;
    EXPECT_THAT(result.difference, HasSubstr("decided: at_ms: ")) << i;
  }
}

TEST_F(RedecideTest, AFactMoreOrLessIsADifference) {
  TwoLives();
  store::History more = Read();
  more.facts.push_back(more.facts.back());
  EXPECT_THAT(Redecide(more, {}).difference, HasSubstr("decided: nothing"));
  store::History less = Read();
  less.facts.pop_back();
  EXPECT_NE(Redecide(less, {}).difference, "");
}

TEST_F(RedecideTest, WithoutTheFirstFactsItStartsAtTheNextProcess) {
  TwoLives();
  const store::History whole = Read();
  Sql("DELETE FROM facts WHERE seq <= (SELECT max(through_seq) FROM snapshot_parts)");
  Live({{Joined(3)}, {SomeSweep("f")}}, false);
  const store::History history = Read();
  EXPECT_GT(history.first_fact, 1);
  EXPECT_GT(history.skipped_events, 0);
  const Redecision result = Redecide(history, {});
  EXPECT_EQ(result.difference, "");
  EXPECT_EQ(result.first_event, static_cast<std::int64_t>(whole.events.size()) + 1);
  EXPECT_EQ(result.events, 2);
  EXPECT_THAT(TextOf(result), HasSubstr("starting at event"));
  Sql("DELETE FROM snapshot_parts");
  EXPECT_EQ(store::ReadHistory(path_).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(RedecideTest, AnOpenJournalIsNotRead) {
  auto store = store::OpenSqliteStore(path_);
  ASSERT_TRUE(store.ok());
  EXPECT_EQ(store::ReadHistory(path_).status().code(), absl::StatusCode::kUnavailable);
}

// Schema 1, before events had terms.
TEST_F(RedecideTest, AnEarlierBuildsJournalIsReadAndLoads) {
  std::filesystem::copy_file(StrCat(ENTRAIN_FIXTURES, "/journal/coordinator.db"), path_);
  const Redecision result = Redecide(Read(), {});
  EXPECT_EQ(result.difference, "");
  EXPECT_EQ(result.events, 6);
  EXPECT_EQ(result.facts, 8);

  auto store = store::OpenSqliteStore(path_);
  ASSERT_TRUE(store.ok()) << store.status();
  core::State state{core::CoreConfig{}};
  ASSERT_TRUE((*store)->Replay([&](const domain::Fact& fact) { core::Apply(&state, fact); }).ok());
  ASSERT_EQ(state.runs.size(), 1U);
  EXPECT_EQ(state.runs.begin()->second->state, domain::RunState::kSucceeded);
  EXPECT_EQ(state.runs.begin()->second->result_step, 20);
  EXPECT_EQ((*store)->FactsSinceSnapshot(), 8);
}

}  // namespace
}  // namespace entrain::server
