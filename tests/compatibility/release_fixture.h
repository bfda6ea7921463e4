// What was kept of a released version: tests/fixtures/releases/VERSION.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "tests/compatibility/conversation.h"

namespace entrain::compatibility {

// That holds the tables in a release's dump of PostgreSQL.
inline constexpr char kPostgresSchema[] = "entrain_release";

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
// A name that a test's may have.
std::string TestNameOf(const std::string& version);

}  // namespace entrain::compatibility
