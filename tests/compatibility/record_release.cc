// Makes the fixtures of a release (scripts/record-release): ENTRAIN_RECORD_RELEASE names the version. No test of anything.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <unistd.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "absl/strings/escaping.h"
#include "base/files.h"
#include "base/strings.h"
#include "entrain/v1/fleet_service.pb.h"
#include "proto/journal.h"
#include "tests/compatibility/coordinator_stage.h"
#include "tests/compatibility/recording.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/compatibility/schema.h"
#include "tests/postgres/postgres_server.h"
#include "tests/proto/every_kind.h"

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
                                  std::string(ENTRAIN_SOURCE_DIR), (fs::temp_directory_path() / "entrain-release").string()}) {
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
  void KeepFolders(const Recording& recording) const;
  const std::string fixture_ = Fixture();
};

void AddStored(std::string_view kind, std::string_view what, const std::string& bytes, std::string* text) {
  std::string base64;
  absl::Base64Escape(AbslArgument(std::string_view(bytes)), &base64);
  StrAppend(text, what, " ", kind, " ", base64, "\n");
}

// Checkpoints that a launch of the conversation names.
std::set<std::string> StartingPoints(const std::vector<Record>& records) {
  std::set<std::string> paths;
  for (const Record& record : records) {
    v1::CoordinatorMessage message;
    if (record.what == What::kSaid && message.ParseFromString(record.bytes) && message.has_launch()) paths.insert(message.launch().resume_from().path());
  }
  paths.erase("");
  return paths;
}

void Replace(const std::string& what, std::string_view by, std::string* text) {
  for (std::size_t at = 0; (at = text->find(what, at)) != std::string::npos; at += by.size()) text->replace(at, what.size(), by);
}

void CopyFolder(const fs::path& from, const fs::path& to) {
  fs::create_directories(to.parent_path());
  fs::copy(from, to, fs::copy_options::recursive);
}

void RecordRelease::KeepFolders(const Recording& recording) const {
  const fs::path all = recording.dir() + "/kept";
  const std::string boot_id = ReadFile("/proc/sys/kernel/random/boot_id").value().substr(0, 36);
  for (const char* name : {"text", "short.yaml", "long.yaml", "elsewhere.yaml"}) CopyFolder(StrCat(recording.dir(), "/", name), all / "home" / name);
  CopyFolder(recording.dir() + "/artifacts/datasets", all / "artifacts" / "datasets");
  for (const std::string& path : StartingPoints(recording.Records())) CopyFolder(StrCat(recording.dir(), "/artifacts/", path), all / "artifacts" / path);
  CopyFolder(recording.left_behind(), all / "worker");
  for (const auto& entry : fs::recursive_directory_iterator(all)) {
    if (!entry.is_regular_file()) continue;
    std::string text = ReadFile(entry.path().string()).value();
    if (entry.path().extension() == ".json") {
      Replace(recording.dir(), kRoot, &text);
      Replace(boot_id, "00000000-0000-0000-0000-000000000000", &text);
    }
    EXPECT_EQ(NameIn(text), "") << entry.path();
    ASSERT_TRUE(WriteFileAtomically(entry.path().string(), text).ok());
  }
  const std::string tar = StrCat("tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C '", all.string(), "' -cf - . | gzip -9n > '", fixture_, "/folders.tar.gz'");
  EXPECT_EQ(std::system(tar.c_str()), 0);
}

TEST_F(RecordRelease, Schema) {
  std::string schema;
  for (const std::string& line : SchemaLines()) StrAppend(&schema, line, "\n");
  ASSERT_TRUE(WriteFileAtomically(fixture_ + "/schema.txt", schema).ok());
}

TEST_F(RecordRelease, JournalKinds) {
  std::string text;
  for (const domain::Fact& fact : journal::OneOfEveryFact()) AddStored(journal::KindOf(fact), "fact", journal::EncodeFact(fact), &text);
  for (const domain::Event& event : journal::OneOfEveryEvent()) AddStored(journal::KindOf(event), "event", journal::EncodeEvent(event), &text);
  Keep(text, "journal_kinds.txt");
}

TEST_F(RecordRelease, ConversationAndWhatItLeft) {
  Recording recording;
  recording.Play();
  ASSERT_FALSE(HasFailure());
  for (const Record& record : recording.Records()) EXPECT_EQ(NameIn(record.bytes), "");
  Keep(TextOf(recording.Records()), "conversation.txt");
  for (const char* file : {"coordinator.db", "coordinator.samples.db"}) Keep(ReadFile(StrCat(recording.dir(), "/data/", file)).value(), file);
  for (const char* file : {"coordinator.db", "coordinator.samples.db"}) {
    Keep(ReadFile(StrCat(recording.store_at_restart(), "/", file)).value(), StrCat("restart.", file));
  }
  auto commands = nlohmann::json::array();
  for (const Command& command : recording.commands()) {
    commands.push_back({{"arguments", command.arguments}, {"exit_code", command.exit_code}, {"output", command.output}});
  }
  Keep(commands.dump(), "commands.json");
  KeepFolders(recording);
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
