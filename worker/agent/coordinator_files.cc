#include "worker/agent/coordinator_files.h"

#include <filesystem>

#include "artifacts/transfer.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::agent {
namespace {

class CoordinatorFiles {
 public:
  CoordinatorFiles(std::vector<std::string> coordinators, transport::TlsFiles tls, std::string attempts_dir)
      : coordinators_(std::move(coordinators)), tls_(std::move(tls)), attempts_dir_(std::move(attempts_dir)) {}

  // `ask` on one coordinator after the other until one can be reached.
  template <typename Ask>
  absl::Status AskInTurn(const Ask& ask) const {
    absl::Status status = absl::UnavailableError("no coordinator is known");
    for (const std::string& address : coordinators_) {
      ENTRAIN_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, MakeChannel(address, tls_));
      status = ask(channel);
      if (!absl::IsUnavailable(status)) break;
    }
    return status;
  }

  absl::StatusOr<std::int64_t> Size(const std::string& hash) const {
    std::int64_t bytes = 0;
    ENTRAIN_RETURN_IF_ERROR(AskInTurn([&](const std::shared_ptr<grpc::Channel>& channel) {
      const absl::StatusOr<std::int64_t> found = artifacts::DatasetBytes(channel, hash);
      if (found.ok()) bytes = *found;
      return found.status();
    }));
    return bytes;
  }

  absl::Status Fetch(const std::string& hash, const std::string& datasets_dir) const {
    const absl::Status fetched = AskInTurn([&](const std::shared_ptr<grpc::Channel>& channel) {
      return artifacts::FetchDataset(channel, hash, datasets_dir);
    });
    Log(fetched.ok() ? LogLevel::kInfo : LogLevel::kWarning, "dataset fetched from the coordinator",
        {{"dataset", hash}, {"result", fetched.ok() ? std::string("complete") : std::string(fetched.message())}});
    return fetched;
  }

  absl::Status Push(const domain::AttemptKey& key, std::int64_t step, const std::string& dir) const {
    return AskInTurn([&](const std::shared_ptr<grpc::Channel>& channel) { return artifacts::PushCheckpoint(channel, key, step, dir); });
  }

  absl::Status FetchCheckpoint(const domain::AttemptKey& key, std::int64_t step, const std::string& root) const {
    const absl::Status fetched = AskInTurn(
        [&](const std::shared_ptr<grpc::Channel>& channel) { return artifacts::FetchCheckpoint(channel, key, step, root); });
    Log(fetched.ok() ? LogLevel::kInfo : LogLevel::kWarning, "checkpoint fetched from the coordinator",
        {{"run", key.run.value()}, {"attempt", StrCat(key.attempt)}, {"step", StrCat(step)},
         {"result", fetched.ok() ? std::string("complete") : std::string(fetched.message())}});
    return fetched;
  }

  // Folders that attempts read: datasets, and checkpoints they started from.
  std::set<std::string> InUse() const {
    std::set<std::string> dirs;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(attempts_dir_, error)) {
      const absl::StatusOr<attempt::AttemptSpec> spec = attempt::AttemptFolder(entry.path().string()).ReadSpec();
      if (!spec.ok()) continue;
      dirs.insert(spec->dataset_dir);
      dirs.insert(spec->resume_dir);
    }
    return dirs;
  }

 private:
  const std::vector<std::string> coordinators_;
  const transport::TlsFiles tls_;
  const std::string attempts_dir_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<artifacts::ArtifactStore>> OpenWorkerArtifacts(const WorkerArtifacts& options) {
  const auto files = std::make_shared<const CoordinatorFiles>(options.coordinators, options.tls, options.dir + "/attempts");
  const auto in_use = [files] { return files->InUse(); };
  std::unique_ptr<artifacts::ArtifactStore> root;
  if (options.shared_root.empty()) {
    root = std::make_unique<artifacts::RemoteArtifacts>(
        options.dir + "/fetched",
        artifacts::CheckpointTransfer{
            [files](const domain::AttemptKey& key, std::int64_t step, const std::string& dir) { return files->Push(key, step, dir); },
            [files](const domain::AttemptKey& key, std::int64_t step, const std::string& to) { return files->FetchCheckpoint(key, step, to); },
            in_use});
  } else {
    ENTRAIN_ASSIGN_OR_RETURN(root, artifacts::OpenArtifactFolder(options.shared_root));
  }
  return std::make_unique<artifacts::CachedArtifacts>(
      std::move(root), options.dir + "/datasets", options.dataset_cache_bytes,
      artifacts::CacheSource{[files](const std::string& hash) { return files->Size(hash); },
                             [files](const std::string& hash, const std::string& dir) { return files->Fetch(hash, dir); }, in_use});
}

}  // namespace entrain::agent
