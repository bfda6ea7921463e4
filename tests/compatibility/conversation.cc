#include "tests/compatibility/conversation.h"

#include <sstream>

#include "absl/strings/escaping.h"
#include "base/strings.h"

namespace entrain::compatibility {
namespace {

constexpr const char* kWhats[] = {"opened", "heard", "closed", "left", "said", "ended", "stopping", "restarted"};
constexpr int kWhatCount = 8;

bool IsMessage(What what) { return what == What::kHeard || what == What::kSaid; }

bool ParseLine(const std::string& line, Record* record) {
  std::istringstream words(line);
  std::string what;
  std::string bytes;
  if (!(words >> record->call >> what)) return false;
  words >> bytes;
  for (int i = 0; i < kWhatCount; ++i) {
    if (what != kWhats[i]) continue;
    record->what = static_cast<What>(i);
    if (IsMessage(record->what)) return absl::Base64Unescape(AbslArgument(std::string_view(bytes)), &record->bytes);
    record->bytes = bytes;
    return true;
  }
  return false;
}

}  // namespace

std::string TextOf(const std::vector<Record>& records) {
  std::string text;
  for (const Record& record : records) {
    std::string bytes = record.bytes;
    if (IsMessage(record.what)) absl::Base64Escape(AbslArgument(std::string_view(record.bytes)), &bytes);
    StrAppend(&text, record.call, " ", kWhats[static_cast<int>(record.what)], bytes.empty() ? "" : " ", bytes, "\n");
  }
  return text;
}

absl::StatusOr<std::vector<Record>> ParseRecords(const std::string& text) {
  std::vector<Record> records;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    Record record;
    if (!ParseLine(line, &record)) return absl::DataLossError(StrCat("line ", records.size() + 1, " is no record"));
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace entrain::compatibility
