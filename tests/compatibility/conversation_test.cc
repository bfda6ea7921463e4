// What every released version said to a coordinator, said to this build's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "base/strings.h"
#include "entrain/v1/sweep_service.pb.h"
#include "tests/compatibility/coordinator_stage.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/compatibility/replayer.h"
#include "tests/compatibility/same_meaning.h"
#include "tests/compatibility/schema.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class EveryRelease : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fixture_ = ReadRelease(GetParam());
    dir_ = StrCat(::testing::TempDir(), "/conversation-", GetParam(), "-", ::getpid());
    fs::remove_all(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }
  ReleaseFixture fixture_;
  std::string dir_;
};

TEST_P(EveryRelease, ItsWorkersAndCommandLinesGetTheSameAnswers) {
  CoordinatorStage stage(RecordedOptions(dir_), fixture_.conversation);
  const Outcome outcome = ReplayAgainst(&stage, fixture_.conversation, fixture_.schema);
  EXPECT_THAT(outcome.differences, IsEmpty());
  EXPECT_GT(outcome.compared, 100);
  for (const char* method : {"FleetService/Control", "FleetService/Samples", "FleetService/Logs", "ArtifactService/PushFolder", "SweepService/Submit",
                             "SweepService/GetRun"}) {
    EXPECT_THAT(outcome.methods, Contains(StrCat("/entrain.v1.", method)));
  }
}

// A coordinator of this build takes over in the middle of it: the store of its predecessor, whose workers come back with what they train.
TEST_P(EveryRelease, ACoordinatorOfThisBuildTakesOver) {
  UnpackFolders(fixture_, dir_ + "/kept");
  fs::create_directories(dir_ + "/data");
  fs::rename(dir_ + "/kept/artifacts", dir_ + "/data/artifacts");
  for (const char* file : {"coordinator.db", "coordinator.samples.db"}) {
    ASSERT_TRUE(WriteFileAtomically(StrCat(dir_, "/data/", file), Unpack(StrCat(fixture_.folder, "/restart.", file, ".gz"))).ok());
  }
  const std::vector<Record> rest = AfterRestart(fixture_.conversation);
  CoordinatorStage stage(RecordedOptions(dir_ + "/data"), rest);
  const Outcome outcome = ReplayAgainst(&stage, rest, fixture_.schema);
  EXPECT_THAT(outcome.differences, IsEmpty());
  EXPECT_GT(outcome.compared, 50);
}

// Also what the conversation does not use.
TEST_P(EveryRelease, ItsMessagesKeepTheirNumbersAndTypes) {
  const std::set<std::string> today = SchemaLines();
  for (const std::string& line : fixture_.schema) {
    EXPECT_TRUE(today.contains(line)) << "released, and no longer so: " << line << "\nGive a new meaning a new field; leave the old one as it was.";
  }
}

INSTANTIATE_TEST_SUITE_P(Releases, EveryRelease, ::testing::ValuesIn(RecordedReleases()),
                         [](const auto& version) { return TestNameOf(version.param); });

TEST(Releases, EveryOneOfTheChangelogIsRecorded) {
  std::istringstream changelog(ReadFile(StrCat(ENTRAIN_SOURCE_DIR, "/CHANGELOG.md")).value());
  const std::vector<std::string> recorded = RecordedReleases();
  std::vector<std::string> released;
  for (std::string line; std::getline(changelog, line);) {
    if (!line.starts_with("## ") || line.ends_with("(unreleased)")) continue;
    released.push_back(line.substr(3, line.find(' ', 3) - 3));
    EXPECT_THAT(recorded, Contains(released.back()))
        << "CHANGELOG.md gives " << released.back() << " a date, and tests/fixtures/releases has nothing of it: run scripts/record-release " << released.back()
        << " on its commit (CONTRIBUTING.md, To release)";
  }
  for (const std::string& version : recorded) EXPECT_THAT(released, Contains(version)) << "recorded, and CHANGELOG.md does not say when it was released";
  EXPECT_THAT(released, Contains("0.1.0"));
}

// A comparison that finds nothing proves nothing.
TEST(SameMeaning, FindsWhatDiffersAndAllowsAdditions) {
  std::set<std::string> schema = SchemaLines();
  v1::RunSummary recorded;
  recorded.set_id("r1");
  v1::RunSummary today = recorded;
  today.set_created_wall_ms(7);
  EXPECT_EQ(Difference(recorded, today, schema), "");
  today.set_step(11);
  EXPECT_THAT(Difference(recorded, today, schema), HasSubstr("step"));
  schema.erase("entrain.v1.RunSummary 12 int64 step");
  EXPECT_EQ(Difference(recorded, today, schema), "");
  v1::Sweep before;
  *before.add_runs() = recorded;
  EXPECT_THAT(Difference(before, v1::Sweep(), schema), HasSubstr("runs"));
}

}  // namespace
}  // namespace entrain::compatibility
