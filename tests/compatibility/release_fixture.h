// What was kept of a released version: tests/fixtures/releases/VERSION.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/compatibility/conversation.h"

namespace entrain::compatibility {

// That holds the tables in a release's dump of PostgreSQL.
inline constexpr char kPostgresSchema[] = "entrain_release";

// Stands in stored files for the folder that everything was recorded in.
inline constexpr char kRoot[] = "@ROOT@";

// One call of the command line; `output` is null where it wrote no JSON.
struct Command {
  std::vector<std::string> arguments;
  int exit_code = 0;
  nlohmann::json output;
};

struct ReleaseFixture {
  std::string folder;
  std::vector<Record> conversation;
  std::set<std::string> schema;
};

std::vector<std::string> RecordedReleases();
// Fails the test when it cannot be read.
ReleaseFixture ReadRelease(const std::string& version);
// Files are kept packed by gzip; both fail the test where gzip does.
std::string Unpack(const std::string& packed);
void Pack(const std::string& text, const std::string& packed);
// The folders that a release kept, below `root`, with its name in their texts:
//   home/       sweep files and the text that they name
//   artifacts/  the dataset, and every checkpoint that an attempt was to start from
//   worker/     a worker's folder as its killed daemon left it
void UnpackFolders(const ReleaseFixture& fixture, const std::string& root);
std::vector<Command> ReadCommands(const ReleaseFixture& fixture);
// A name that a test's may have.
std::string TestNameOf(const std::string& version);

}  // namespace entrain::compatibility
