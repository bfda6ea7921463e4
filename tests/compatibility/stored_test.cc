// The stores that every released version left: this build reads them, decides their events alike, and shows people what they were shown.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <sstream>

#include "absl/strings/escaping.h"
#include "base/files.h"
#include "base/strings.h"
#include "coordinator/server/redecide.h"
#include "coordinator/store/history.h"
#include "coordinator/store/postgres_store.h"
#include "entrain/journal/v1/journal.pb.h"
#include "proto/journal.h"
#include "tests/compatibility/coordinator_stage.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/compatibility/same_meaning.h"
#include "tests/postgres/postgres_server.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EveryStore : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fixture_ = ReadRelease(GetParam());
    dir_ = StrCat(::testing::TempDir(), "/stored-", GetParam(), "-", ::getpid());
    fs::remove_all(dir_);
    ASSERT_TRUE(MakeFolders(dir_).ok());
  }
  void TearDown() override { fs::remove_all(dir_); }
  void UnpackSqlite() {
    for (const char* file : {"coordinator.db", "coordinator.samples.db"}) {
      ASSERT_TRUE(WriteFileAtomically(StrCat(dir_, "/", file), Unpack(StrCat(fixture_.folder, "/", file, ".gz"))).ok());
    }
  }
  void Sql(const std::string& statement) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open((dir_ + "/coordinator.db").c_str(), &handle), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(handle, statement.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
    sqlite3_close(handle);
  }
  void ForEachBody(const std::string& query, const std::function<void(const std::string&)>& visit) {
    sqlite3* handle = nullptr;
    sqlite3_stmt* statement = nullptr;
    ASSERT_EQ(sqlite3_open((dir_ + "/coordinator.db").c_str(), &handle), SQLITE_OK);
    ASSERT_EQ(sqlite3_prepare_v2(handle, query.c_str(), -1, &statement, nullptr), SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
      visit(std::string(static_cast<const char*>(sqlite3_column_blob(statement, 0)), static_cast<std::size_t>(sqlite3_column_bytes(statement, 0))));
    }
    sqlite3_finalize(statement);
    sqlite3_close(handle);
  }
  template <typename Message, typename Value>
  void ExpectReadWhole(const std::string& bytes, const absl::StatusOr<Value>& value, std::string (*encode)(const Value&), int number) {
    ASSERT_TRUE(value.ok()) << Message::descriptor()->name() << " " << number << ": " << value.status();
    Message stored, kept;
    ASSERT_TRUE(stored.ParseFromString(bytes) && kept.ParseFromString(encode(*value)));
    EXPECT_EQ(Difference(stored, kept, fixture_.schema), "") << Message::descriptor()->name() << " " << number << ": " << stored.ShortDebugString();
  }
  static void ExpectDecidedAlike(const absl::StatusOr<store::History>& history) {
    ASSERT_TRUE(history.ok()) << history.status();
    const server::Redecision result = server::Redecide(*history, server::CoreConfigOf(RecordedOptions("")));
    EXPECT_EQ(result.difference, "");
    EXPECT_EQ(result.events, static_cast<std::int64_t>(history->events.size()));
    EXPECT_GT(result.facts, 50);
  }
  void ExpectShownAlike(const server::Options& options) {
    CoordinatorStage stage(options, {});
    const Outcome outcome = ReplayAgainst(&stage, LastLooks(fixture_.conversation), fixture_.schema);
    EXPECT_THAT(outcome.differences, IsEmpty());
    EXPECT_GT(outcome.compared, 10);
  }
  ReleaseFixture fixture_;
  std::string dir_;
};

TEST_P(EveryStore, ItsEventsAreDecidedAlike) {
  UnpackSqlite();
  ExpectDecidedAlike(store::ReadHistory(dir_ + "/coordinator.db"));
}

// Nothing of it is lost between the bytes and the core: a decoder that forgets a field would forget it alike everywhere.
TEST_P(EveryStore, ItsFactsAndEventsAreReadWhole) {
  UnpackSqlite();
  int facts = 0, events = 0;
  ForEachBody("SELECT body FROM facts", [&](const std::string& bytes) { ExpectReadWhole<journal::v1::Fact>(bytes, journal::DecodeFact(bytes), journal::EncodeFact, ++facts); });
  ForEachBody("SELECT body FROM events", [&](const std::string& bytes) { ExpectReadWhole<journal::v1::Event>(bytes, journal::DecodeEvent(bytes), journal::EncodeEvent, ++events); });
  EXPECT_GT(facts, 50);
  EXPECT_GT(events, 50);
}

// Also kinds that the recorded sweep had no need of.
TEST_P(EveryStore, EveryKindOfFactAndEventIsReadWhole) {
  std::istringstream lines(Unpack(fixture_.folder + "/journal_kinds.txt.gz"));
  int count = 0;
  for (std::string what, kind, base64; lines >> what >> kind >> base64;) {
    SCOPED_TRACE(kind);
    std::string bytes;
    ASSERT_TRUE(absl::Base64Unescape(AbslArgument(std::string_view(base64)), &bytes));
    if (what == "fact") {
      ExpectReadWhole<journal::v1::Fact>(bytes, journal::DecodeFact(bytes), journal::EncodeFact, ++count);
    } else {
      ExpectReadWhole<journal::v1::Event>(bytes, journal::DecodeEvent(bytes), journal::EncodeEvent, ++count);
    }
  }
  EXPECT_GT(count, 40);
}

TEST_P(EveryStore, PeopleAreShownWhatTheyWereShown) {
  UnpackSqlite();
  ExpectShownAlike(RecordedOptions(dir_));
}

// A snapshot stands for the facts before it; a process that was killed leaves none.
TEST_P(EveryStore, AlsoWithoutItsSnapshot) {
  UnpackSqlite();
  Sql("DELETE FROM snapshot_parts");
  ExpectShownAlike(RecordedOptions(dir_));
}

TEST_P(EveryStore, InPostgresToo) {
  const auto server = testing::PostgresServer::Start(StrCat("/tmp/entrain-stored-pg-", ::getpid()));
  if (server == nullptr) GTEST_SKIP() << testing::kNoPostgres;
  server->Sql(server->Url("public"), Unpack(fixture_.folder + "/postgres.sql.gz"));
  server::Options options = RecordedOptions("");
  options.postgres.url = server->Url(kPostgresSchema);
  options.artifacts_dir = dir_;
  ASSERT_TRUE(WriteFileAtomically(dir_ + "/.entrain-root", server->Sql(options.postgres.url, "SELECT artifact_root FROM leader")).ok());
  SystemClock clock;
  ExpectDecidedAlike(store::ReadPostgresHistory(options.postgres, &clock));
  ExpectShownAlike(options);
}

INSTANTIATE_TEST_SUITE_P(Releases, EveryStore, ::testing::ValuesIn(RecordedReleases()),
                         [](const auto& version) { return TestNameOf(version.param); });

}  // namespace
}  // namespace entrain::compatibility
