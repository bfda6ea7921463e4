#include "worker/attempt/attempt_folder.h"

#include <unistd.h>

#include <limits>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/attempt/json_fields.h"

namespace entrain::attempt {
namespace {

constexpr std::string_view kReserveFile = "reserve";
constexpr std::size_t kReserveBytes = 256 << 10;

std::string EncodeSpec(const AttemptSpec& spec) {
  return JsonWriter()
      .Add("format_version", static_cast<std::int64_t>(kFormatVersion))
      .Add("run", spec.key.run.value())
      .Add("attempt", static_cast<std::int64_t>(spec.key.attempt))
      .Add("dataset_dir", spec.dataset_dir)
      .Add("resume_dir", spec.resume_dir)
      .Add("init_dir", spec.init_dir)
      .Add("collective", spec.collective)
      .Add("device", spec.device)
      .Add("control_socket", spec.control_socket)
      .Add("world_size", spec.world_size)
      .Add("ranks_per_machine", spec.ranks_per_machine)
      .Add("threads_per_rank", spec.threads_per_rank)
      .Add("slots", spec.slots)
      .Add("allow_inexact_resume", spec.allow_inexact_resume)
      .Add("first_rank", spec.first_rank)
      .Add("hosts", spec.hosts)
      .Add("network_interface", spec.network_interface)
      .Add("watched", spec.watched)
      .Finish();
}

absl::Status CheckVersion(JsonReader& fields) {
  std::int64_t version = 0;
  ENTRAIN_RETURN_IF_ERROR(fields.Get("format_version", &version).status());
  if (version >= kOldestReadableFormat && version <= kFormatVersion) return absl::OkStatus();
  return fields.Problem("format_version", StrCat("is ", version, "; this build reads formats ", kOldestReadableFormat,
                                                 " to ", kFormatVersion));
}

absl::Status CheckSpec(const JsonReader& fields, const AttemptSpec& spec, std::int64_t attempt) {
  if (attempt < 0 || attempt > std::numeric_limits<AttemptNumber>::max()) {
    return fields.Problem("attempt", StrCat("is out of range: ", attempt));
  }
  if (spec.world_size < 1) return fields.Problem("world_size", StrCat("must be positive, is ", spec.world_size));
  if (spec.ranks_per_machine < 1) {
    return fields.Problem("ranks_per_machine", StrCat("must be positive, is ", spec.ranks_per_machine));
  }
  if (spec.threads_per_rank < 1) {
    return fields.Problem("threads_per_rank", StrCat("must be positive, is ", spec.threads_per_rank));
  }
  if (spec.first_rank < 0 || spec.first_rank + LocalRanks(spec) > spec.world_size) {
    return fields.Problem("first_rank", StrCat("is ", spec.first_rank, " with ", LocalRanks(spec), " ranks of ", spec.world_size));
  }
  if (spec.device != "cpu" && spec.device != "cuda") {
    return fields.Problem("device", StrCat("is '", spec.device, "'; known are cpu and cuda"));
  }
  return absl::OkStatus();
}

}  // namespace

std::string AttemptFolder::Path(std::string_view relative) const { return StrCat(root_, "/", relative); }

std::string AttemptFolder::TerminalPath(std::int64_t rank) const {
  return Path(StrCat("terminal/rank-", rank, ".json"));
}

std::string AttemptFolder::HeartbeatPath(std::int64_t rank) const { return Path(StrCat("heartbeat/rank-", rank)); }

absl::Status AttemptFolder::Create(const AttemptSpec& spec, std::string_view config_json) const {
  for (std::string_view folder : {"events", "terminal", "checkpoints", "heartbeat"}) {
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(Path(folder)));
  }
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(Path("run.json"), config_json));
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(Path(kReserveFile), std::string(kReserveBytes, '\0')));
  // Last: a folder with attempt.json is complete.
  return WriteFileAtomically(Path("attempt.json"), EncodeSpec(spec) + "\n");
}

absl::StatusOr<AttemptSpec> AttemptFolder::ReadSpec() const {
  const std::string path = Path("attempt.json");
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ENTRAIN_ASSIGN_OR_RETURN(JsonReader fields, JsonReader::Parse(text, path));
  ENTRAIN_RETURN_IF_ERROR(CheckVersion(fields));
  AttemptSpec spec;
  std::string run;
  std::int64_t attempt = 0;
  fields.Get("run", &run)
      .Get("attempt", &attempt)
      .Get("dataset_dir", &spec.dataset_dir)
      .Get("resume_dir", &spec.resume_dir)
      .Get("init_dir", &spec.init_dir)
      .Get("collective", &spec.collective)
      .Get("control_socket", &spec.control_socket)
      .Get("world_size", &spec.world_size)
      .Get("ranks_per_machine", &spec.ranks_per_machine)
      .Get("threads_per_rank", &spec.threads_per_rank)
      .Get("slots", &spec.slots)
      .Get("allow_inexact_resume", &spec.allow_inexact_resume);
  if (fields.Has("device")) fields.Get("device", &spec.device);
  if (fields.Has("hosts")) {
    fields.Get("first_rank", &spec.first_rank).Get("hosts", &spec.hosts).Get("network_interface", &spec.network_interface).Get("watched", &spec.watched);
  }
  ENTRAIN_RETURN_IF_ERROR(fields.status());
  ENTRAIN_RETURN_IF_ERROR(CheckSpec(fields, spec, attempt));
  spec.key = {RunId(run), static_cast<AttemptNumber>(attempt)};
  return spec;
}

absl::StatusOr<std::string> AttemptFolder::ReadConfigJson() const { return ReadFile(Path("run.json")); }

absl::Status AttemptFolder::WriteTerminalRecord(std::int64_t rank, const TerminalRecord& record) const {
  const std::string text = JsonWriter()
                               .Add("format_version", static_cast<std::int64_t>(kFormatVersion))
                               .Add("cause", domain::ToString(record.cause))
                               .Add("step", record.step)
                               .Add("message", record.message)
                               .Add("loss", record.loss)
                               .Add("tokens", record.tokens)
                               .Finish();
  return WriteRecord(TerminalPath(rank), text + "\n");
}

absl::Status AttemptFolder::WriteRecord(const std::string& path, std::string_view text) const {
  const absl::Status written = WriteFileAtomically(path, text);
  if (!absl::IsResourceExhausted(written)) return written;
  // Another rank may have given the reserve back between the two: try again either way.
  ::unlink(Path(kReserveFile).c_str());
  return WriteFileAtomically(path, text);
}

absl::StatusOr<std::optional<TerminalRecord>> AttemptFolder::ReadTerminalRecord(std::int64_t rank) const {
  const std::string path = TerminalPath(rank);
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  ENTRAIN_RETURN_IF_ERROR(text.status());
  ENTRAIN_ASSIGN_OR_RETURN(JsonReader fields, JsonReader::Parse(*text, path));
  ENTRAIN_RETURN_IF_ERROR(CheckVersion(fields));
  TerminalRecord record;
  std::string cause;
  fields.Get("cause", &cause)
      .Get("step", &record.step)
      .Get("message", &record.message)
      .Get("loss", &record.loss)
      .Get("tokens", &record.tokens);
  ENTRAIN_RETURN_IF_ERROR(fields.status());
  const std::optional<domain::EndCause> parsed = domain::ParseEndCause(cause);
  if (!parsed) return fields.Problem("cause", StrCat("is unknown: '", cause, "'"));
  record.cause = *parsed;
  return record;
}

}  // namespace entrain::attempt
