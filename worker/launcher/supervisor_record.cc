#include "worker/launcher/supervisor_record.h"

#include <cstdlib>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::launcher {
namespace {

constexpr char kRecordFile[] = "supervisor.json";
constexpr char kExitFile[] = "supervisor-exit.json";
constexpr ExitReason kReasons[] = {ExitReason::kExited, ExitReason::kNotStarted, ExitReason::kAskedToEnd,
                                   ExitReason::kDaemonAbsent, ExitReason::kRankFrozen, ExitReason::kLinkLost};

// Both files are one flat object whose values are numbers and words without escapes, written by this file alone.
absl::StatusOr<std::string> Field(const std::string& json, std::string_view name, const std::string& path) {
  const std::string quoted = StrCat("\"", name, "\":");
  const std::size_t at = json.find(quoted);
  if (at == std::string::npos) return absl::DataLossError(StrCat(path, ": no field \"", name, "\""));
  std::size_t begin = at + quoted.size();
  const bool is_text = begin < json.size() && json[begin] == '"';
  if (is_text) ++begin;
  const std::size_t end = json.find_first_of(is_text ? "\"" : ",}", begin);
  if (end == std::string::npos) return absl::DataLossError(StrCat(path, ": field \"", name, "\" is cut off"));
  return json.substr(begin, end - begin);
}

absl::StatusOr<std::int64_t> Number(const std::string& json, std::string_view name, const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, Field(json, name, path));
  char* end = nullptr;
  const long long value = std::strtoll(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') return absl::DataLossError(StrCat(path, ": \"", name, "\" is no number: ", text));
  return value;
}

}  // namespace

std::string_view ToString(ExitReason reason) {
  switch (reason) {
    case ExitReason::kExited: return "exited";
    case ExitReason::kNotStarted: return "not_started";
    case ExitReason::kAskedToEnd: return "asked_to_end";
    case ExitReason::kDaemonAbsent: return "daemon_absent";
    case ExitReason::kRankFrozen: return "rank_frozen";
    case ExitReason::kLinkLost: return "link_lost";
  }
  return "exited";
}

absl::Status WriteSupervisorRecord(const attempt::AttemptFolder& folder, const SupervisorRecord& record) {
  return WriteFileAtomically(folder.Path(kRecordFile),
                             StrCat("{\"format\":1,\"pid\":", record.identity.pid, ",\"start_ticks\":",
                                    record.identity.start_ticks, ",\"boot_id\":\"", record.identity.boot_id, "\"}\n"));
}

absl::Status WriteSupervisorExit(const attempt::AttemptFolder& folder, const SupervisorExit& exit) {
  return folder.WriteRecord(
      folder.Path(kExitFile),
      StrCat("{\"format\":1,\"reason\":\"", ToString(exit.reason), "\",\"exit_status\":", exit.exit_status, ",\"signal\":",
             exit.signal, ",\"duration_ms\":", exit.duration_ms, ",\"killed\":", exit.killed, ",\"detail\":\"", exit.detail, "\"}\n"));
}

absl::StatusOr<SupervisorRecord> ReadSupervisorRecord(const attempt::AttemptFolder& folder) {
  const std::string path = folder.Path(kRecordFile);
  ENTRAIN_ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  SupervisorRecord record;
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t pid, Number(json, "pid", path));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t start_ticks, Number(json, "start_ticks", path));
  ENTRAIN_ASSIGN_OR_RETURN(record.identity.boot_id, Field(json, "boot_id", path));
  record.identity.pid = static_cast<pid_t>(pid);
  record.identity.start_ticks = static_cast<std::uint64_t>(start_ticks);
  return record;
}

absl::StatusOr<SupervisorExit> ReadSupervisorExit(const attempt::AttemptFolder& folder) {
  const std::string path = folder.Path(kExitFile);
  ENTRAIN_ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  SupervisorExit exit;
  ENTRAIN_ASSIGN_OR_RETURN(const std::string reason, Field(json, "reason", path));
  for (const ExitReason candidate : kReasons) {
    if (reason == ToString(candidate)) exit.reason = candidate;
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t exit_status, Number(json, "exit_status", path));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t signal, Number(json, "signal", path));
  ENTRAIN_ASSIGN_OR_RETURN(exit.duration_ms, Number(json, "duration_ms", path));
  ENTRAIN_ASSIGN_OR_RETURN(exit.killed, Number(json, "killed", path));
  exit.exit_status = static_cast<std::int32_t>(exit_status);
  exit.signal = static_cast<std::int32_t>(signal);
  // Older folders lack it.
  exit.detail = Field(json, "detail", path).value_or("");
  return exit;
}

}  // namespace entrain::launcher
