#include "worker/agent/dataset_source.h"

#include <filesystem>

#include "artifacts/transfer.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::agent {
namespace {

class DatasetSource {
 public:
  DatasetSource(std::vector<std::string> coordinators, transport::TlsFiles tls, std::string attempts_dir)
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

  std::set<std::string> InUse() const {
    std::set<std::string> dirs;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(attempts_dir_, error)) {
      const absl::StatusOr<attempt::AttemptSpec> spec = attempt::AttemptFolder(entry.path().string()).ReadSpec();
      if (spec.ok()) dirs.insert(spec->dataset_dir);
    }
    return dirs;
  }

 private:
  const std::vector<std::string> coordinators_;
  const transport::TlsFiles tls_;
  const std::string attempts_dir_;
};

}  // namespace

artifacts::CacheSource MakeDatasetSource(std::vector<std::string> coordinators, transport::TlsFiles tls, std::string attempts_dir) {
  const auto source = std::make_shared<const DatasetSource>(std::move(coordinators), std::move(tls), std::move(attempts_dir));
  return {[source](const std::string& hash) { return source->Size(hash); },
          [source](const std::string& hash, const std::string& dir) { return source->Fetch(hash, dir); },
          [source] { return source->InUse(); }};
}

}  // namespace entrain::agent
