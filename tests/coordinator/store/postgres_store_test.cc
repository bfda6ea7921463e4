// The contract on a real PostgreSQL server, and what only a server far away can do to a store.
#include "coordinator/store/postgres_store.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/strings.h"
#include "store_contract.h"
#include "tests/postgres/postgres_server.h"
#include "tests/postgres/server_link.h"

namespace entrain::store {
namespace {

using entrain::testing::kNoPostgres;
using entrain::testing::PostgresServer;
using entrain::testing::ServerLink;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const SystemClock kClock;

// One for all cases; null where it is not installed.
PostgresServer* Server() {
  static const std::unique_ptr<PostgresServer> server = PostgresServer::Start(StrCat("/tmp/entrain-pg-", getpid()));
  return server.get();
}

PostgresOptions OptionsFor(const std::string& url, const std::string& holder = "here", std::int64_t lease_ms = 10'000) {
  PostgresOptions options;
  options.url = url;
  options.holder = holder;
  options.lease_ms = lease_ms;
  return options;
}

OpenedStore OpenPostgres(const std::string& dir) {
  if (Server() == nullptr) return {};
  std::string schema = std::filesystem::path(dir).filename().string();
  std::transform(schema.begin(), schema.end(), schema.begin(), ::tolower);
  schema.resize(std::min<std::size_t>(schema.size(), 60));
  if (!std::filesystem::exists(dir + "/opened")) {
    Server()->Sql(Server()->Url(schema), StrCat("DROP SCHEMA ", schema, " CASCADE"));
    std::ofstream(dir + "/opened") << "once";
  }
  auto leadership = OpenLeadership(OptionsFor(Server()->Url(schema)), &kClock);
  EXPECT_TRUE(leadership.ok()) << leadership.status();
  if (!leadership.ok()) return {};
  const auto leads = (*leadership)->TryToLead();
  EXPECT_TRUE(leads.ok() && *leads) << leads.status() << " " << (*leadership)->Holder();
  auto store = OpenPostgresStore(leadership->get());
  EXPECT_TRUE(store.ok()) << store.status();
  return {std::shared_ptr<Leadership>(*std::move(leadership)), store.ok() ? *std::move(store) : nullptr};
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreTest, ::testing::Values(StoreKind{"postgres", OpenPostgres, true}), NameOfKind);

domain::Fact NamedFact(const std::string& run) { return {1, 2, domain::RunPaused{RunId(run), "why"}}; }

// A coordinator's half that this is about.
struct Member {
  std::unique_ptr<Leadership> leadership;
  std::unique_ptr<Store> store;

  std::vector<std::string> Runs() {
    std::vector<std::string> runs;
    const absl::Status read = store->Replay([&](const domain::Fact& fact) { runs.push_back(std::get<domain::RunPaused>(fact.body).run.value()); });
    EXPECT_TRUE(read.ok()) << read;
    return runs;
  }
};

class PostgresStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Server() == nullptr) GTEST_SKIP() << kNoPostgres;
    schema_ = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::transform(schema_.begin(), schema_.end(), schema_.begin(), ::tolower);
    schema_.resize(std::min<std::size_t>(schema_.size(), 60));
    url_ = Server()->Url(schema_);
    dir_ = StrCat("/tmp/entrain-pgtest-", getpid());
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  Member Lead(const std::string& url, const std::string& holder = "here", std::int64_t lease_ms = 10'000) {
    Member member;
    auto opened = OpenLeadership(OptionsFor(url, holder, lease_ms), &kClock);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return member;
    member.leadership = *std::move(opened);
    bool leads = false;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!leads && std::chrono::steady_clock::now() < deadline) {
      const auto tried = member.leadership->TryToLead();
      EXPECT_TRUE(tried.ok()) << tried.status();
      leads = tried.value_or(true);
      std::this_thread::sleep_for(std::chrono::milliseconds(leads ? 0 : 10));
    }
    auto store = OpenPostgresStore(member.leadership.get());
    EXPECT_TRUE(store.ok()) << store.status();
    if (store.ok()) member.store = *std::move(store);
    return member;
  }
  void Sql(const std::string& statements) { Server()->Sql(url_, statements); }
  absl::Status OpenAndReplay() {
    Member member = Lead(url_);
    return member.store->Replay([](const domain::Fact&) {});
  }

  std::string schema_, url_, dir_;
};

TEST_F(PostgresStoreTest, AChangedFactIsFoundByItsChecksum) {
  {
    Member member = Lead(url_);
    ASSERT_TRUE(member.store->Commit({}, {NamedFact("a"), NamedFact("b"), NamedFact("c")}).ok());
  }
  Sql("UPDATE facts SET body = '\\x0801' WHERE seq = 2");
  const absl::Status status = OpenAndReplay();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("facts row 2"));
}

TEST_F(PostgresStoreTest, AMissingFactIsFound) {
  {
    Member member = Lead(url_);
    ASSERT_TRUE(member.store->Commit({}, {NamedFact("a"), NamedFact("b"), NamedFact("c")}).ok());
  }
  Sql("DELETE FROM facts WHERE seq = 2");
  EXPECT_THAT(std::string(OpenAndReplay().message()), HasSubstr("facts row 2: it is missing"));
}

TEST_F(PostgresStoreTest, ANewerSchemaIsRefusedAndLeftAlone) {
  Lead(url_);
  Sql("UPDATE entrain_schema SET version = 999");
  const absl::Status status = OpenLeadership(OptionsFor(url_), &kClock).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("schema 999"));
  EXPECT_EQ(Server()->Sql(url_, "SELECT version FROM entrain_schema"), "999");
}

TEST_F(PostgresStoreTest, AnotherProgramsTablesAreRefused) {
  Sql("CREATE TABLE facts (theirs int)");
  const absl::Status status = OpenLeadership(OptionsFor(url_), &kClock).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("tables that entrain did not make"));
  EXPECT_EQ(Server()->Sql(url_, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"), "1") << "half a schema was left";
}

TEST_F(PostgresStoreTest, SeveralMayMakeTheTablesAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([this] { EXPECT_TRUE(OpenLeadership(OptionsFor(url_), &kClock).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Server()->Sql(url_, "SELECT count(*) FROM leader"), "1");
}

TEST_F(PostgresStoreTest, AnAddressWithAPasswordIsRefusedWithoutShowingIt) {
  for (const std::string url : {"postgresql://me:hunter2@db/entrain", "host=db password=hunter2", "postgresql://me@db/entrain?sslpassword=hunter2"}) {
    const absl::Status status = OpenLeadership(OptionsFor(url), &kClock).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(std::string(status.message()), HasSubstr("--store-password-file"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("hunter2")));
  }
  EXPECT_THAT(std::string(OpenLeadership(OptionsFor("http://me:hunter2@db"), &kClock).status().message()), Not(HasSubstr("hunter2")));
}

TEST_F(PostgresStoreTest, ThePasswordComesFromAFile) {
  Sql("DROP ROLE IF EXISTS locked; CREATE ROLE locked LOGIN PASSWORD 'hunter2'");
  Sql(StrCat("GRANT ALL ON SCHEMA ", schema_, " TO locked"));
  const std::string rules = Server()->data_dir() + "/pg_hba.conf";
  std::ofstream(rules) << "local all locked scram-sha-256\nlocal all all trust\n";
  Server()->Reload();
  PostgresOptions options = OptionsFor(StrCat("host=", Server()->socket_dir(), " user=locked dbname=postgres options=-csearch_path=", schema_));
  // The server reads its rules when it comes to it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (OpenLeadership(options, &kClock).ok() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(OpenLeadership(options, &kClock).status().code(), absl::StatusCode::kFailedPrecondition);
  options.password_file = dir_ + "/password";
  std::ofstream(options.password_file) << "wrong-one\n";
  const absl::Status wrong = OpenLeadership(options, &kClock).status();
  EXPECT_EQ(wrong.code(), absl::StatusCode::kFailedPrecondition) << wrong;
  EXPECT_THAT(std::string(wrong.message()), HasSubstr("password authentication failed"));
  EXPECT_THAT(std::string(wrong.message()), Not(HasSubstr("wrong-one")));
  std::ofstream(options.password_file) << "hunter2\n";
  EXPECT_TRUE(OpenLeadership(options, &kClock).ok());
}

TEST_F(PostgresStoreTest, AServerThatIsNotThereIsNamed) {
  const absl::Status status = OpenLeadership(OptionsFor("host=" + dir_ + " dbname=entrain"), &kClock).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr(dir_));
}

TEST_F(PostgresStoreTest, OneLeadsAndAStandbyHearsWhoItIs) {
  Member first = Lead(url_, "first");
  auto second = *OpenLeadership(OptionsFor(url_, "second"), &kClock);
  EXPECT_FALSE(*second->TryToLead());
  EXPECT_EQ(second->Holder(), "first");
  EXPECT_EQ(OpenPostgresStore(second.get()).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(first.store->Commit({}, {NamedFact("a")}).ok());
  // A clean end frees the lease at once.
  first.store.reset();
  first.leadership.reset();
  EXPECT_TRUE(*second->TryToLead());
  EXPECT_EQ(second->epoch(), 2);
}

TEST_F(PostgresStoreTest, TheLeaseIsRenewedAsLongAsItsHolderLives) {
  Member first = Lead(url_, "first", 1'500);
  auto second = *OpenLeadership(OptionsFor(url_, "second", 1'500), &kClock);
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(4'000);
  while (std::chrono::steady_clock::now() < until) {
    EXPECT_FALSE(*second->TryToLead());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_TRUE(first.leadership->Lost().ok());
}

TEST_F(PostgresStoreTest, WhateverADeposedLeaderStillWritesIsRefused) {
  Member first = Lead(url_, "first");
  ASSERT_TRUE(first.store->Commit({}, {NamedFact("a")}).ok());
  ASSERT_TRUE(first.store->BeginAttempt(RunId("r"), 1, 0).ok());
  StoredSample sample;
  sample.attempt = 1;
  sample.sample.step = 1;
  sample.sample.entropy_nats = {1.0F};
  // As if its process had been frozen until the lease was over.
  Sql("UPDATE leader SET expires = 'epoch'");
  Member second = Lead(url_, "second");
  const absl::Status refused = first.store->Commit({}, {NamedFact("late")});
  EXPECT_EQ(refused.code(), absl::StatusCode::kAborted) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("second leads since epoch 2"));
  EXPECT_EQ(first.store->WriteSnapshot({NamedFact("late")}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(first.store->AppendSamples(RunId("r"), 64, {sample}, {}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(first.store->AppendLog(RunId("r"), 1, {"late"}).code(), absl::StatusCode::kAborted);
  EXPECT_EQ(first.store->BeginAttempt(RunId("r"), 2, 0).code(), absl::StatusCode::kAborted);
  EXPECT_THAT(second.Runs(), ElementsAre("a"));
  EXPECT_TRUE(second.store->ReadSamples(RunId("r"), 64, 0, 100)->empty());
  EXPECT_TRUE(second.store->Commit({}, {NamedFact("b")}).ok());
  EXPECT_THAT(second.Runs(), ElementsAre("a", "b"));
}

TEST_F(PostgresStoreTest, ALeaderHearsThatItWasDeposed) {
  Member first;
  std::atomic<int> calls = 0;
  absl::Status why;
  first.leadership = *OpenLeadership(OptionsFor(url_, "first", 900), &kClock);
  first.leadership->OnLost([&](const absl::Status& status) {
    why = status;
    ++calls;
  });
  ASSERT_TRUE(*first.leadership->TryToLead());
  Sql("UPDATE leader SET expires = 'epoch'");
  Member second = Lead(url_, "second");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (calls == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(why.code(), absl::StatusCode::kAborted) << why;
  EXPECT_FALSE(first.leadership->Lost().ok());
  first.leadership.reset();
  EXPECT_TRUE(second.store->Commit({}, {NamedFact("a")}).ok()) << "the deposed leader ended the other's lease";
}

TEST_F(PostgresStoreTest, ABoundArtifactRootIsKept) {
  Member member = Lead(url_);
  EXPECT_EQ(*member.leadership->ArtifactRoot(), "");
  EXPECT_TRUE(member.leadership->BindArtifactRoot("root1").ok());
  EXPECT_TRUE(member.leadership->BindArtifactRoot("root1").ok());
  EXPECT_EQ(member.leadership->BindArtifactRoot("root2").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(*member.leadership->ArtifactRoot(), "root1");
}

TEST_F(PostgresStoreTest, ACommitWhoseOutcomeIsUnknownIsThereOnce) {
  for (const ServerLink::Fault fault : {ServerLink::Fault::kLoseRequest, ServerLink::Fault::kLoseAnswer, ServerLink::Fault::kLateRequest}) {
    const std::string schema = StrCat(schema_.substr(0, 40), static_cast<int>(fault));
    Server()->Url(schema);
    ServerLink link(dir_ + "/link", Server()->socket_dir());
    Member member = Lead(Server()->Url(schema, link.dir()));
    ASSERT_TRUE(member.store->Commit({{1, 1, domain::Tick{}}}, {NamedFact("first")}).ok());
    link.Arm(fault, "marked-run");
    const absl::Status committed = member.store->Commit({{2, 2, domain::Tick{}}}, {NamedFact("marked-run"), NamedFact("beside")});
    EXPECT_TRUE(committed.ok()) << committed;
    EXPECT_TRUE(link.Happened());
    if (fault == ServerLink::Fault::kLateRequest) {
      // The first try reaches the server after the second was committed.
      EXPECT_THAT(link.DeliverLate(), HasSubstr("Z"));
    }
    EXPECT_TRUE(member.store->Commit({{3, 3, domain::Tick{}}}, {NamedFact("last")}).ok());
    EXPECT_THAT(member.Runs(), ElementsAre("first", "marked-run", "beside", "last")) << static_cast<int>(fault);
    std::vector<std::int64_t> events;
    ASSERT_TRUE(member.store->ReplayEvents([&](const domain::Event& event, std::int64_t) { events.push_back(event.at_ms); }).ok());
    EXPECT_THAT(events, ElementsAre(1, 2, 3));
  }
}

TEST_F(PostgresStoreTest, ALateRequestBeforeTheSecondTryIsRefusedByTheFence) {
  ServerLink link(dir_ + "/link", Server()->socket_dir());
  Member member = Lead(Server()->Url(schema_, link.dir()));
  link.CloseWhenItHappens();
  link.Arm(ServerLink::Fault::kLateRequest, "marked-run");
  std::thread committing([&] { EXPECT_TRUE(member.store->Commit({}, {NamedFact("marked-run")}).ok()); });
  while (!link.Happened()) std::this_thread::yield();
  // What its next session does first.
  Sql("UPDATE fences SET token = token + 1 WHERE lane = 'journal'");
  link.DeliverLate();
  EXPECT_EQ(Server()->Sql(url_, "SELECT count(*) FROM facts"), "0");
  link.Open();
  committing.join();
  EXPECT_THAT(member.Runs(), ElementsAre("marked-run"));
}

TEST_F(PostgresStoreTest, ARequestThatIsUnderWayWhileAnotherTakesOverIsRefused) {
  ServerLink link(dir_ + "/link", Server()->socket_dir());
  Member first = Lead(Server()->Url(schema_, link.dir()), "first", 2'000);
  ASSERT_TRUE(first.store->Commit({}, {NamedFact("a")}).ok());
  link.CloseWhenItHappens();
  link.Arm(ServerLink::Fault::kLateRequest, "marked-run");
  std::thread committing([&] { EXPECT_EQ(first.store->Commit({}, {NamedFact("marked-run")}).code(), absl::StatusCode::kAborted); });
  while (!link.Happened()) std::this_thread::yield();
  Sql("UPDATE leader SET expires = 'epoch'");
  Member second = Lead(url_, "second");
  link.DeliverLate();
  EXPECT_THAT(second.Runs(), ElementsAre("a"));
  link.Open();
  committing.join();
  EXPECT_TRUE(second.store->Commit({}, {NamedFact("b")}).ok());
  EXPECT_THAT(second.Runs(), ElementsAre("a", "b"));
}

TEST_F(PostgresStoreTest, SamplesAndLogLinesWhoseAnswerIsLostAreThereOnce) {
  for (const ServerLink::Fault fault : {ServerLink::Fault::kLoseRequest, ServerLink::Fault::kLoseAnswer}) {
    const std::string schema = StrCat(schema_.substr(0, 40), static_cast<int>(fault));
    Server()->Url(schema);
    ServerLink link(dir_ + "/link", Server()->socket_dir());
    Member member = Lead(Server()->Url(schema, link.dir()));
    ASSERT_TRUE(member.store->BeginAttempt(RunId("r"), 1, 0).ok());
    ASSERT_TRUE(member.store->AppendLog(RunId("r"), 1, {"one"}).ok());
    link.Arm(fault, "marked-line");
    ASSERT_TRUE(member.store->AppendLog(RunId("r"), 1, {"marked-line", "three"}).ok());
    EXPECT_TRUE(link.Happened());
    ASSERT_TRUE(member.store->AppendLog(RunId("r"), 1, {"four"}).ok());
    const auto lines = member.store->ReadLog(RunId("r"), 0, 0, 100);
    ASSERT_EQ(lines->size(), 4U);
    EXPECT_EQ((*lines)[3].number, 4);
    EXPECT_EQ((*lines)[3].text, "four");
  }
}

TEST_F(PostgresStoreTest, ATerminatedSessionIsReplaced) {
  Member member = Lead(url_);
  std::vector<std::string> expected;
  for (int i = 0; i < 5; ++i) {
    expected.push_back(StrCat("r", i));
    EXPECT_TRUE(member.store->Commit({}, {NamedFact(expected.back())}).ok());
    EXPECT_TRUE(member.store->AppendLog(RunId("r"), 1, {expected.back()}).ok());
    EXPECT_EQ(member.store->ReadLog(RunId("r"), 0, 0, 100)->size(), expected.size());
    Sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'entrain-coordinator'");
  }
  EXPECT_EQ(member.Runs(), expected);
  EXPECT_TRUE(member.leadership->Lost().ok());
}

TEST_F(PostgresStoreTest, AServerThatCrashesAndComesBackHasEveryAcknowledgedCommitOnce) {
  Member member = Lead(url_, "here", 30'000);
  std::atomic<std::int64_t> acknowledged = 0;
  std::atomic<bool> enough = false;
  std::thread writer([&] {
    for (std::int64_t i = 0; !enough; ++i) {
      const absl::Status committed = member.store->Commit({}, {NamedFact(StrCat("r", i)), NamedFact(StrCat("r", i))});
      EXPECT_TRUE(committed.ok()) << committed;
      if (!committed.ok()) return;
      ++acknowledged;
    }
  });
  const auto reach = [&](std::int64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (acknowledged < count && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    EXPECT_GE(acknowledged, count);
  };
  reach(20);
  for (int crash = 0; crash < 2; ++crash) {
    Server()->Crash();
    Server()->Boot();
    reach(acknowledged + 20);
  }
  enough = true;
  writer.join();
  const std::vector<std::string> runs = member.Runs();
  ASSERT_EQ(static_cast<std::int64_t>(runs.size()), 2 * acknowledged);
  for (std::size_t i = 0; i < runs.size(); ++i) EXPECT_EQ(runs[i], StrCat("r", i / 2));
}

TEST_F(PostgresStoreTest, ALeaderWhoseServerIsGoneEndsWithItsLease) {
  Member member = Lead(url_, "here", 1'000);
  Server()->Crash();
  const absl::Status committed = member.store->Commit({}, {NamedFact("a")});
  EXPECT_EQ(committed.code(), absl::StatusCode::kUnavailable) << committed;
  EXPECT_THAT(std::string(committed.message()), HasSubstr("leads no more"));
  EXPECT_FALSE(member.leadership->Lost().ok());
  Server()->Boot();
  member = Lead(url_, "here", 1'000);
  EXPECT_THAT(member.Runs(), ElementsAre());
}

TEST_F(PostgresStoreTest, ALeaderWhoseServerIsSilentEndsWithItsLease) {
  ServerLink link(dir_ + "/link", Server()->socket_dir());
  Member member = Lead(Server()->Url(schema_, link.dir()), "here", 1'000);
  link.Freeze(true);
  const auto begin = std::chrono::steady_clock::now();
  while (member.leadership->Lost().ok() && std::chrono::steady_clock::now() - begin < std::chrono::seconds(10)) std::this_thread::yield();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(member.leadership->Lost().code(), absl::StatusCode::kUnavailable);
  Member second = Lead(url_, "second");
  EXPECT_TRUE(second.store->Commit({}, {NamedFact("a")}).ok());
  link.Freeze(false);
}

TEST_F(PostgresStoreTest, TheHistoryIsReadWithoutLeading) {
  Member member = Lead(url_);
  ASSERT_TRUE(member.store->Commit({{7, 8, domain::Tick{}}}, {NamedFact("a"), NamedFact("b")}).ok());
  ASSERT_TRUE(member.store->WriteSnapshot({NamedFact("ab")}).ok());
  ASSERT_TRUE(member.store->Commit({{9, 9, domain::Tick{}}}, {NamedFact("c")}).ok());
  const auto history = ReadPostgresHistory(OptionsFor(url_), &kClock);
  ASSERT_TRUE(history.ok()) << history.status();
  EXPECT_EQ(history->facts.size(), 3U);
  ASSERT_EQ(history->events.size(), 2U);
  EXPECT_EQ(history->events[1].facts_before, 2);
  EXPECT_EQ(history->events[1].term, 1);
}

}  // namespace
}  // namespace entrain::store
