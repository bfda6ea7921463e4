// Whether an answer of today says what the recorded one said.
#pragma once

#include <google/protobuf/message.h>

#include <set>
#include <string>
#include <vector>

namespace entrain::compatibility {

// Fields that differ from one process or moment to the next, by full name, each with why.
struct Allowed {
  const char* field;
  const char* why;
};
const std::vector<Allowed>& AllowedDifferences();

// Empty, or what of `recorded` `today` does not say alike. Fields that the release's schema (SchemaLines) did not have are additions, and
// allowed; so are those of AllowedDifferences() and labels of the wall clock.
std::string Difference(const google::protobuf::Message& recorded, const google::protobuf::Message& today, const std::set<std::string>& schema);

}  // namespace entrain::compatibility
