// Datasets and checkpoints from and to the coordinator, for a worker that does not share its artifact root.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "artifacts/cached_artifacts.h"
#include "artifacts/remote_artifacts.h"
#include "worker/agent/coordinator_link.h"

namespace entrain::agent {

// The worker's artifact root: the folder `shared_root`, or, when that is empty, one under `dir` whose checkpoints travel. Datasets that
// are not in it are fetched into a cache under `dir`. Coordinators are asked in turn until one answers; what runs is read from
// `dir`/attempts.
struct WorkerArtifacts {
  std::string shared_root;
  std::string dir;
  std::int64_t dataset_cache_bytes = 0;
  std::vector<std::string> coordinators;
  transport::TlsFiles tls;
};
absl::StatusOr<std::unique_ptr<artifacts::ArtifactStore>> OpenWorkerArtifacts(const WorkerArtifacts& options);

}  // namespace entrain::agent
