#include "worker/trainer/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/folder_manifest.h"
#include "worker/attempt/json_fields.h"
#include "worker/trainer/hugging_face_config.h"

namespace entrain::trainer {
namespace {

// Format 1 had no loss scale: its runs computed in float32.
constexpr std::int64_t kStateFormat = 2;
constexpr std::int64_t kOldestStateFormat = 1;
// Left free beside a checkpoint, for events, logs and everyone else.
constexpr std::uint64_t kSpareBytes = 16 << 20;
constexpr std::string_view kUnfinishedSuffix = ".unfinished";

std::string FolderName(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08lld", static_cast<long long>(step));
  return name;
}

std::string EncodeState(const CheckpointState& state) {
  return attempt::JsonWriter()
             .Add("format_version", kStateFormat)
             .Add("step", state.step)
             .Add("tokens", state.tokens)
             .Add("loss", state.loss)
             .Add("best_eval_loss", state.best_eval_loss)
             .Add("best_eval_step", state.best_eval_step)
             .Add("last_eval_step", state.last_eval_step)
             .Add("loss_scale", state.loss_scale)
             .Add("loss_scale_steps", state.loss_scale_steps)
             .Add("seed", std::to_string(state.seed))  // all 64 bits, which JSON readers may not keep
             .Add("world_size", state.world_size)
             .Add("threads_per_rank", state.threads_per_rank)
             .Add("instruction_set", state.instruction_set)
             .Add("config_hash", state.config_hash)
             .Add("build_id", state.build_id)
             .Finish() +
         "\n";
}

absl::StatusOr<CheckpointState> ReadState(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  ENTRAIN_ASSIGN_OR_RETURN(attempt::JsonReader fields, attempt::JsonReader::Parse(text, path));
  std::int64_t version = 0;
  ENTRAIN_RETURN_IF_ERROR(fields.Get("format_version", &version).status());
  if (version < kOldestStateFormat || version > kStateFormat) {
    return fields.Problem("format_version",
                          StrCat("is ", version, "; this build reads formats ", kOldestStateFormat, " to ", kStateFormat));
  }
  CheckpointState state;
  std::string seed;
  fields.Get("step", &state.step)
      .Get("tokens", &state.tokens)
      .Get("loss", &state.loss)
      .Get("best_eval_loss", &state.best_eval_loss)
      .Get("best_eval_step", &state.best_eval_step)
      .Get("last_eval_step", &state.last_eval_step)
      .Get("seed", &seed)
      .Get("world_size", &state.world_size)
      .Get("threads_per_rank", &state.threads_per_rank)
      .Get("instruction_set", &state.instruction_set)
      .Get("config_hash", &state.config_hash)
      .Get("build_id", &state.build_id);
  if (version >= 2) fields.Get("loss_scale", &state.loss_scale).Get("loss_scale_steps", &state.loss_scale_steps);
  ENTRAIN_RETURN_IF_ERROR(fields.status());
  if (std::from_chars(seed.data(), seed.data() + seed.size(), state.seed).ec != std::errc()) {
    return fields.Problem("seed", StrCat("is not a number: '", seed, "'"));
  }
  return state;
}

std::uint64_t ContentBytes(const CheckpointContent& content) {
  std::uint64_t bytes = 0;
  for (const auto* tensors : {&content.model_tensors, &content.optimizer_tensors}) {
    for (const auto& [name, view] : *tensors) bytes += static_cast<std::uint64_t>(view.byte_size) + name.size() + 128;
  }
  return bytes;
}

absl::Status RequireSpace(const std::string& folder, const CheckpointContent& content) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::uint64_t free, FreeBytes(folder));
  const std::uint64_t wanted = ContentBytes(content) + kSpareBytes;
  if (free >= wanted) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat("checkpoint of step ", content.state.step, " needs ", wanted,
                                             " bytes, the file system of ", folder, " has ", free, " free"));
}

absl::StatusOr<data::ManifestSummary> WriteFiles(const std::string& folder, const CheckpointContent& content) {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(folder));
  ENTRAIN_RETURN_IF_ERROR(
      data::WriteSafetensors(folder + "/model.safetensors", content.model_tensors, {{"format", "pt"}}));
  ENTRAIN_RETURN_IF_ERROR(
      data::WriteSafetensors(folder + "/optimizer.safetensors", content.optimizer_tensors, {{"format", "pt"}}));
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(folder + "/config.json", HuggingFaceConfigJson(content.model)));
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(folder + "/state.json", EncodeState(content.state)));
  ENTRAIN_ASSIGN_OR_RETURN(data::ManifestSummary summary, data::WriteManifest(folder));
  ENTRAIN_RETURN_IF_ERROR(SyncPath(folder));
  return summary;
}

absl::Status Publish(const std::string& unfinished, const std::string& target) {
  std::error_code error;
  std::filesystem::remove_all(target, error);  // the same step, written before this attempt resumed
  std::filesystem::rename(unfinished, target, error);
  if (error) return ErrnoStatus(error.value(), "rename to", target);
  return SyncPath(std::filesystem::path(target).parent_path().string());
}

absl::Status Differs(std::string_view what, const auto& saved, const auto& now) {
  if (saved == now) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat("the checkpoint was written with ", what, " ", saved, ", this attempt has ", now,
             ": going on would not give the same numbers; allow_inexact_resume permits it"));
}

}  // namespace

absl::StatusOr<attempt::CheckpointWritten> WriteCheckpoint(const attempt::AttemptFolder& folder,
                                                           const CheckpointContent& content) {
  const std::string relative = StrCat("checkpoints/", FolderName(content.state.step));
  const std::string target = folder.Path(relative);
  const std::string unfinished = StrCat(target, kUnfinishedSuffix);
  ENTRAIN_RETURN_IF_ERROR(RequireSpace(folder.Path("checkpoints"), content));
  absl::StatusOr<data::ManifestSummary> summary = WriteFiles(unfinished, content);
  absl::Status status = summary.status();
  if (status.ok()) status = Publish(unfinished, target);
  if (!status.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(unfinished, ignored);
    return status;
  }
  return attempt::CheckpointWritten{content.state.step, relative, summary->bytes, summary->hash};
}

absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& dir) {
  ENTRAIN_RETURN_IF_ERROR(data::VerifyManifest(dir));
  ENTRAIN_ASSIGN_OR_RETURN(CheckpointState state, ReadState(dir + "/state.json"));
  ENTRAIN_ASSIGN_OR_RETURN(data::SafetensorsFile model, data::SafetensorsFile::Open(dir + "/model.safetensors"));
  ENTRAIN_ASSIGN_OR_RETURN(data::SafetensorsFile optimizer, data::SafetensorsFile::Open(dir + "/optimizer.safetensors"));
  return OpenedCheckpoint{std::move(state), std::move(model), std::move(optimizer)};
}

absl::Status CheckExactResume(const CheckpointState& saved, const CheckpointState& now) {
  ENTRAIN_RETURN_IF_ERROR(Differs("world size", saved.world_size, now.world_size));
  ENTRAIN_RETURN_IF_ERROR(Differs("threads per rank", saved.threads_per_rank, now.threads_per_rank));
  ENTRAIN_RETURN_IF_ERROR(Differs("instruction set", saved.instruction_set, now.instruction_set));
  ENTRAIN_RETURN_IF_ERROR(Differs("seed", saved.seed, now.seed));
  return Differs("configuration", saved.config_hash, now.config_hash);
}

absl::Status PruneCheckpoints(const attempt::AttemptFolder& folder, std::int64_t keep, std::int64_t best_step) {
  const std::string root = folder.Path("checkpoints");
  std::vector<std::string> complete;
  std::vector<std::string> doomed;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(root, error); entry != std::filesystem::directory_iterator(); ++entry) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with("step-")) continue;
    (name.ends_with(kUnfinishedSuffix) ? doomed : complete).push_back(name);
  }
  if (error) return ErrnoStatus(error.value(), "list", root);
  std::sort(complete.begin(), complete.end());
  if (keep > 0 && static_cast<std::int64_t>(complete.size()) > keep) {
    const auto first_kept = complete.end() - keep;
    std::copy_if(complete.begin(), first_kept, std::back_inserter(doomed),
                 [&](const std::string& name) { return name != FolderName(best_step); });
  }
  for (const std::string& name : doomed) {
    std::filesystem::remove_all(root + "/" + name, error);
    if (error) return ErrnoStatus(error.value(), "delete", root + "/" + name);
  }
  return absl::OkStatus();
}

}  // namespace entrain::trainer
