// The coordinators of every released version, as far as their answers were recorded, and this build's command line.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/files.h"
#include "base/strings.h"
#include "tests/compatibility/playback.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/integration/process.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::IsEmpty;

// Empty, or the place of the first value of `recorded` that `today` does not have alike. What only today's has is an addition.
std::string Missing(const json& recorded, const json& today, const std::string& place = "") {
  if (recorded.is_object() && today.is_object()) {
    for (const auto& [name, value] : recorded.items()) {
      const std::string here = StrCat(place, "/", name);
      if (!today.contains(name)) return here + " is gone";
      if (const std::string missing = Missing(value, today.at(name), here); !missing.empty()) return missing;
    }
    return "";
  }
  if (recorded.is_array() && today.is_array() && recorded.size() == today.size()) {
    for (std::size_t i = 0; i < recorded.size(); ++i) {
      if (const std::string missing = Missing(recorded[i], today[i], StrCat(place, "/", i)); !missing.empty()) return missing;
    }
    return "";
  }
  return recorded == today ? "" : StrCat(place, " was ", recorded.dump(), ", is ", today.dump());
}

class EveryCoordinator : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fixture_ = ReadRelease(GetParam());
    root_ = StrCat(fs::path(::testing::TempDir()).lexically_normal().string(), "/commands-", GetParam(), "-", ::getpid());
    fs::remove_all(root_);
    UnpackFolders(fixture_, root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  // The exit code; what it wrote goes to `output`.
  int Run(const Command& command, const std::string& address, std::string* output) {
    std::vector<std::string> words = command.arguments;
    words.insert(words.begin(), StrCat(ENTRAIN_BIN_DIR, "/entrain"));
    words.insert(words.end(), {"--coordinator", address, "-o", "json"});
    const std::string log = root_ + "/output";
    fs::remove(log);
    const int code = testing::Process::Start(words, log, root_ + "/home").Wait(60'000);
    *output = ReadFile(log).value_or("");
    return code;
  }
  ReleaseFixture fixture_;
  std::string root_;
};

TEST_P(EveryCoordinator, IsUnderstoodByThisCommandLine) {
  Playback playback(fixture_.conversation);
  int port = 0;
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&playback);
  const auto server = builder.BuildAndStart();
  const std::vector<Command> commands = ReadCommands(fixture_);
  EXPECT_GT(commands.size(), 20U);
  for (const Command& command : commands) {
    std::string output;
    const std::string name = json(command.arguments).dump();
    ASSERT_EQ(Run(command, StrCat("127.0.0.1:", port), &output), command.exit_code) << name << "\n" << output;
    if (!command.output.is_null()) {
      ASSERT_EQ(Missing(command.output, json::parse(output, nullptr, false)), "") << name;
    }
  }
  EXPECT_THAT(playback.unknown(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Releases, EveryCoordinator, ::testing::ValuesIn(RecordedReleases()),
                         [](const auto& version) { return TestNameOf(version.param); });

TEST(Missing, FindsWhatIsGoneOrOther) {
  const json recorded = {{"runs", {{{"id", "r1"}, {"step", 3}}}}};
  EXPECT_EQ(Missing(recorded, {{"runs", {{{"id", "r1"}, {"step", 3}, {"more", 1}}}}, {"more", 2}}), "");
  EXPECT_EQ(Missing(recorded, {{"runs", {{{"id", "r1"}, {"step", 4}}}}}), "/runs/0/step was 3, is 4");
  EXPECT_EQ(Missing(recorded, {{"runs", {{{"step", 3}}}}}), "/runs/0/id is gone");
  EXPECT_NE(Missing(recorded, {{"runs", json::array()}}), "");
}

}  // namespace
}  // namespace entrain::compatibility
