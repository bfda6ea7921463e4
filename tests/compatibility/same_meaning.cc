#include "tests/compatibility/same_meaning.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <sstream>

#include "base/strings.h"
#include "tests/compatibility/schema.h"

namespace entrain::compatibility {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::util::MessageDifferencer;

bool IsAllowed(const FieldDescriptor& field) {
  // Labels for people: the time of day.
  if (field.name().ends_with("wall_ms")) return true;
  return std::any_of(AllowedDifferences().begin(), AllowedDifferences().end(), [&](const Allowed& allowed) { return field.full_name() == allowed.field; });
}

class Ignore : public MessageDifferencer::IgnoreCriteria {
 public:
  explicit Ignore(const std::set<std::string>* schema) : schema_(schema) {}
  bool IsIgnored(const Message& /*recorded*/, const Message& /*today*/, const FieldDescriptor* field,
                 const std::vector<MessageDifferencer::SpecificField>& /*parents*/) override {
    return IsAllowed(*field) || !schema_->contains(LineOf(*field));
  }

 private:
  const std::set<std::string>* const schema_;
};

}  // namespace

const std::vector<Allowed>& AllowedDifferences() {
  static const std::vector<Allowed> allowed = {
      {"entrain.v1.Welcome.peer_key", "every coordinator makes a key of its own"},
      {"entrain.v1.RunSummary.eta_ms", "depends on the time of day"},
      {"entrain.v1.CollectGarbageResponse.artifact_bytes", "files that a worker wrote into the shared artifact root are no part of a conversation"},
  };
  return allowed;
}

std::string Difference(const Message& recorded, const Message& today, const std::set<std::string>& schema) {
  MessageDifferencer differencer;
  std::string text;
  differencer.ReportDifferencesToString(&text);
  differencer.AddIgnoreCriteria(new Ignore(&schema));
  if (differencer.Compare(recorded, today)) return "";
  std::istringstream lines(text);
  std::string differences;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("ignored:")) StrAppend(&differences, line, "\n");
  }
  return differences;
}

}  // namespace entrain::compatibility
