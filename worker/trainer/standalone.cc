#include "worker/trainer/standalone.h"

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "sweep/run_config_json.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/collective/collective.h"
#include "worker/trainer/device.h"
#include "worker/trainer/rank_process.h"

namespace entrain::trainer {
namespace {

// What rank 0 tells the others: the folder, or why there is none.
struct Announcement {
  bool ok = false;
  char text[4096] = {};

  void Set(bool is_ok, const std::string& message) {
    ok = is_ok;
    std::strncpy(text, message.c_str(), sizeof(text) - 1);
  }
};

std::string Absolute(const std::string& path) {
  std::error_code error;
  return path.empty() ? path : std::filesystem::absolute(path, error).lexically_normal().string();
}

std::string NextAttemptName(const std::string& out_dir) {
  for (int number = 1;; ++number) {
    char name[32];
    std::snprintf(name, sizeof(name), "/attempt-%04d", number);
    std::error_code error;
    if (!std::filesystem::exists(out_dir + name, error)) return out_dir + name;
  }
}

// run.json as people write it becomes the canonical form that an attempt holds.
absl::StatusOr<std::string> MakeFolder(const StandaloneOptions& options, const std::string& backend, int world_size) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(options.config_path));
  absl::StatusOr<domain::RunConfig> config = sweep::ParseRunConfig(text);
  if (!config.ok()) return absl::InvalidArgumentError(StrCat(options.config_path, ": ", std::string(config.status().message())));
  attempt::AttemptSpec spec;
  spec.key = {RunId("standalone"), 1};
  spec.dataset_dir = Absolute(options.dataset_dir);
  spec.resume_dir = Absolute(options.resume_dir);
  spec.init_dir = Absolute(options.init_dir);
  spec.collective = backend;
  spec.device = options.device;
  spec.world_size = world_size;
  spec.ranks_per_machine = world_size;
  spec.threads_per_rank =
      options.threads_per_rank > 0 ? options.threads_per_rank : config->resources.threads_per_rank;
  spec.allow_inexact_resume = options.allow_inexact_resume;
  const std::string folder = NextAttemptName(Absolute(options.out_dir));
  ENTRAIN_RETURN_IF_ERROR(attempt::AttemptFolder(folder).Create(spec, sweep::ToCanonicalJson(*config)));
  return folder;
}

}  // namespace

int RunStandalone(const StandaloneOptions& options) {
  const LauncherPlace place = FindLauncherPlace();
  std::string backend = options.collective;
  if (backend.empty()) backend = place.world_size == 1 ? "single" : options.device == "cuda" ? "nccl" : "mpi";
  attempt::AttemptSpec local;
  local.device = options.device;
  local.collective = backend;
  local.ranks_per_machine = place.world_size;
  if (const absl::Status status = SelectDevice(local, place.rank).status(); !status.ok()) {
    std::fprintf(stderr, "entrain-trainer: %s\n", std::string(status.message()).c_str());
    return absl::IsUnavailable(status) ? kExitRetryable : kExitConfig;
  }
  absl::StatusOr<std::unique_ptr<collective::Collective>> collective = collective::MakeCollective(backend);
  if (!collective.ok()) {
    std::fprintf(stderr, "entrain-trainer: %s\n", std::string(collective.status().message()).c_str());
    return absl::IsInvalidArgument(collective.status()) ? kExitUsage : kExitRetryable;
  }
  Announcement announcement;
  if ((*collective)->rank() == 0) {
    const absl::StatusOr<std::string> folder = MakeFolder(options, backend, (*collective)->world_size());
    announcement.Set(folder.ok(), folder.ok() ? *folder : std::string(folder.status().message()));
    std::fprintf(folder.ok() ? stdout : stderr, folder.ok() ? "attempt folder: %s\n" : "entrain-trainer: %s\n", announcement.text);
  }
  const absl::Status told = (*collective)->Broadcast(&announcement, sizeof(announcement), 0);
  if (!told.ok()) return kExitRetryable;
  if (!announcement.ok) return kExitConfig;
  return RunRank(attempt::AttemptFolder(announcement.text), *std::move(collective),
                 {.keep_checkpoints = options.keep_checkpoints, .print_progress = true});
}

}  // namespace entrain::trainer
