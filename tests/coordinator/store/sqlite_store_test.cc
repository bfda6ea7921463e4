// What only a file can suffer.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "base/strings.h"
#include "coordinator/store/store.h"

namespace entrain::store {
namespace {

using testing::HasSubstr;

domain::Fact SomeFact(std::int64_t at_ms) {
  return {at_ms, at_ms, domain::RunPaused{RunId("r1"), StrCat("paused at ", at_ms)}};
}

class SqliteStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = StrCat(testing::TempDir(), "/sqlite-", testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    path_ = dir_ + "/coordinator.db";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Fill(int facts) {
    auto store = OpenSqliteStore(path_);
    ASSERT_TRUE(store.ok()) << store.status();
    for (int i = 0; i < facts; ++i) ASSERT_TRUE((*store)->Commit({}, {SomeFact(i)}).ok());
  }
  void Sql(const std::string& sql) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(path_.c_str(), &handle), SQLITE_OK);
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << error;
    sqlite3_close(handle);
  }
  absl::Status OpenAndReplay() {
    auto store = OpenSqliteStore(path_);
    if (!store.ok()) return store.status();
    return (*store)->Replay([](const domain::Fact&) {});
  }

  std::string dir_;
  std::string path_;
};

TEST_F(SqliteStoreTest, AFileThatIsNoDatabaseIsDataLossWithItsPath) {
  std::ofstream(path_) << std::string(8192, 'x');
  const absl::Status status = OpenSqliteStore(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

TEST_F(SqliteStoreTest, ATruncatedFileIsDataLoss) {
  Fill(500);
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) / 2);
  const absl::Status status = OpenAndReplay();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
}

TEST_F(SqliteStoreTest, AnOverwrittenPageIsDataLoss) {
  Fill(500);
  {
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 * 3);
    file << std::string(4096, '\x5a');
  }
  EXPECT_EQ(OpenAndReplay().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SqliteStoreTest, AChangedFactIsFoundByItsChecksum) {
  Fill(3);
  Sql("UPDATE facts SET body = x'0801' WHERE seq = 2");
  const absl::Status status = OpenAndReplay();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("facts row 2"));
}

TEST_F(SqliteStoreTest, AMissingFactIsFound) {
  Fill(3);
  Sql("DELETE FROM facts WHERE seq = 2");
  EXPECT_THAT(std::string(OpenAndReplay().message()), HasSubstr("facts row 2: it is missing"));
}

TEST_F(SqliteStoreTest, ANewerSchemaIsRefusedAndLeftAlone) {
  Fill(1);
  Sql("PRAGMA user_version = 999");
  const absl::Status status = OpenSqliteStore(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("schema 999"));
}

TEST_F(SqliteStoreTest, AnotherProgramsDatabaseIsRefused) {
  Sql("CREATE TABLE theirs (x)");
  const absl::Status status = OpenSqliteStore(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not made by entrain"));
}

TEST_F(SqliteStoreTest, ASecondOwnerIsToldThatItIsInUse) {
  auto first = OpenSqliteStore(path_);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE((*first)->Commit({}, {SomeFact(1)}).ok());
  const absl::Status status = OpenSqliteStore(path_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("in use by another process"));
}

TEST_F(SqliteStoreTest, AFolderThatIsMissingIsNamed) {
  const absl::Status status = OpenSqliteStore(dir_ + "/none/coordinator.db").status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("/none/coordinator.db"));
}

TEST_F(SqliteStoreTest, WhatWasCommittedSurvivesAKill) {
  int reached[2];
  ASSERT_EQ(pipe(reached), 0);
  const pid_t child = fork();
  if (child == 0) {
    auto store = OpenSqliteStore(path_);
    for (std::int64_t i = 0; store.ok(); ++i) {
      if (!(*store)->Commit({}, {SomeFact(i), SomeFact(i)}).ok()) break;
      if (write(reached[1], &i, sizeof(i)) != static_cast<ssize_t>(sizeof(i))) break;
    }
    _exit(1);
  }
  std::int64_t acknowledged = -1;
  while (acknowledged < 20) ASSERT_EQ(read(reached[0], &acknowledged, sizeof(acknowledged)), static_cast<ssize_t>(sizeof(acknowledged)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  auto store = OpenSqliteStore(path_);
  ASSERT_TRUE(store.ok()) << store.status();
  std::int64_t facts = 0;
  ASSERT_TRUE((*store)->Replay([&](const domain::Fact&) { ++facts; }).ok());
  EXPECT_GE(facts, 2 * (acknowledged + 1));
  EXPECT_EQ(facts % 2, 0) << "half a batch";
  close(reached[0]);
  close(reached[1]);
}

}  // namespace
}  // namespace entrain::store
