// Makes the fixtures of a release (scripts/record-release): ENTRAIN_RECORD_RELEASE names the version. No test of anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "tests/compatibility/coordinator_stage.h"
#include "tests/compatibility/recording.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/compatibility/schema.h"
#include "tests/postgres/postgres_server.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;

std::string Fixture() {
  const char* version = std::getenv("ENTRAIN_RECORD_RELEASE");
  return version == nullptr ? "" : StrCat(ENTRAIN_FIXTURES, "/releases/", version);
}

// Where a name of this machine stands in `text` as a word of its own; empty: nowhere. Short names stand in random bytes by chance.
std::string NameIn(const std::string& text) {
  char host[256] = "";
  ::gethostname(host, sizeof(host) - 1);
  const passwd* account = ::getpwuid(::getuid());
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-'; };
  for (const std::string& name : {std::string(host), std::string(account == nullptr ? "" : account->pw_name), std::string(account == nullptr ? "" : account->pw_dir),
                                  std::string(ENTRAIN_SOURCE_DIR), fs::temp_directory_path().string()}) {
    if (name.size() < 4) continue;
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
      const std::size_t end = at + name.size();
      if (at > 0 && word(text[at - 1]) && word(name[0])) continue;
      if (end < text.size() && word(text[end])) continue;
      return text.substr(at < 40 ? 0 : at - 40, 80 + name.size());
    }
  }
  return "";
}

class RecordRelease : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_FALSE(fixture_.empty()) << "ENTRAIN_RECORD_RELEASE is not set";
    fs::create_directories(fixture_);
  }
  void Keep(const std::string& text, const std::string& name) const {
    EXPECT_EQ(NameIn(text), "") << name;
    Pack(text, StrCat(fixture_, "/", name, ".gz"));
  }
  const std::string fixture_ = Fixture();
};

TEST_F(RecordRelease, Schema) {
  std::string schema;
  for (const std::string& line : SchemaLines()) StrAppend(&schema, line, "\n");
  ASSERT_TRUE(WriteFileAtomically(fixture_ + "/schema.txt", schema).ok());
}

TEST_F(RecordRelease, ConversationAndJournal) {
  Recording recording;
  recording.Play();
  ASSERT_FALSE(HasFailure());
  for (const Record& record : recording.Records()) EXPECT_EQ(NameIn(record.bytes), "");
  Keep(TextOf(recording.Records()), "conversation.txt");
  for (const char* file : {"coordinator.db", "coordinator.samples.db"}) Keep(ReadFile(StrCat(recording.dir(), "/data/", file)).value(), file);
}

// The same conversation as PostgreSQL stores it: its bytes said again to a coordinator of this build.
TEST_F(RecordRelease, PostgresStore) {
  const auto server = testing::PostgresServer::Start("/tmp/entrain-release-pg");
  ASSERT_NE(server, nullptr) << testing::kNoPostgres;
  const std::string artifacts = "/tmp/entrain-release/pg-artifacts";
  fs::remove_all(artifacts);
  const ReleaseFixture release = ReadRelease(std::getenv("ENTRAIN_RECORD_RELEASE"));
  server::Options options = RecordedOptions("");
  options.artifacts_dir = artifacts;
  options.postgres.url = server->Url(kPostgresSchema);
  options.postgres.holder = "a host";
  {
    CoordinatorStage stage(options, release.conversation);
    ASSERT_THAT(ReplayAgainst(&stage, release.conversation, release.schema).differences, ::testing::IsEmpty());
  }
  Keep(server->Dump(kPostgresSchema), "postgres.sql");
}

}  // namespace
}  // namespace entrain::compatibility
