#include "tests/compatibility/release_fixture.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::compatibility {

std::vector<std::string> RecordedReleases() {
  std::vector<std::string> versions;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(StrCat(ENTRAIN_FIXTURES, "/releases"), none)) versions.push_back(entry.path().filename().string());
  std::sort(versions.begin(), versions.end());
  return versions;
}

ReleaseFixture ReadRelease(const std::string& version) {
  ReleaseFixture fixture;
  fixture.folder = StrCat(ENTRAIN_FIXTURES, "/releases/", version);
  auto conversation = ParseRecords(Unpack(fixture.folder + "/conversation.txt.gz"));
  EXPECT_TRUE(conversation.ok()) << conversation.status();
  if (conversation.ok()) fixture.conversation = *std::move(conversation);
  std::istringstream schema(ReadFile(fixture.folder + "/schema.txt").value_or(""));
  for (std::string line; std::getline(schema, line);) fixture.schema.insert(line);
  EXPECT_FALSE(fixture.schema.empty());
  return fixture;
}

std::string Unpack(const std::string& packed) {
  const std::string text_path = StrCat(::testing::TempDir(), "/unpacked-", ::getpid());
  EXPECT_EQ(std::system(StrCat("gzip -dc '", packed, "' > '", text_path, "'").c_str()), 0) << packed;
  const std::string text = ReadFile(text_path).value_or("");
  std::filesystem::remove(text_path);
  return text;
}

void Pack(const std::string& text, const std::string& packed) {
  const std::string text_path = packed.substr(0, packed.size() - 3);
  EXPECT_TRUE(WriteFileAtomically(text_path, text).ok());
  EXPECT_EQ(std::system(StrCat("gzip -9nf '", text_path, "'").c_str()), 0) << packed;
}

void UnpackFolders(const ReleaseFixture& fixture, const std::string& root) {
  ASSERT_TRUE(MakeFolders(root).ok());
  ASSERT_EQ(std::system(StrCat("tar -xzf '", fixture.folder, "/folders.tar.gz' -C '", root, "'").c_str()), 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.path().extension() != ".json") continue;
    std::string text = ReadFile(entry.path().string()).value();
    for (std::size_t at = 0; (at = text.find(kRoot, at)) != std::string::npos;) text.replace(at, std::string_view(kRoot).size(), root);
    ASSERT_TRUE(WriteFileAtomically(entry.path().string(), text).ok());
  }
}

std::vector<Command> ReadCommands(const ReleaseFixture& fixture) {
  std::vector<Command> commands;
  const auto all = nlohmann::json::parse(Unpack(fixture.folder + "/commands.json.gz"), nullptr, false);
  EXPECT_TRUE(all.is_array());
  for (const auto& command : all) commands.push_back({command.at("arguments"), command.at("exit_code"), command.at("output")});
  return commands;
}

std::string TestNameOf(const std::string& version) {
  std::string name = version;
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

}  // namespace entrain::compatibility
