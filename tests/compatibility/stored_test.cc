// The stores that every released version left: this build reads them, decides their events alike, and shows people what they were shown.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "coordinator/server/redecide.h"
#include "coordinator/store/history.h"
#include "coordinator/store/postgres_store.h"
#include "tests/compatibility/coordinator_stage.h"
#include "tests/compatibility/release_fixture.h"
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
