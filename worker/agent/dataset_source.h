// Datasets from the coordinator, for a worker that does not share its artifact root.
#pragma once

#include <string>
#include <vector>

#include "artifacts/cached_artifacts.h"
#include "worker/agent/coordinator_link.h"

namespace entrain::agent {

// Asks the coordinators in turn until one answers. What runs is read from the attempt folders under `attempts_dir`.
artifacts::CacheSource MakeDatasetSource(std::vector<std::string> coordinators, transport::TlsFiles tls, std::string attempts_dir);

}  // namespace entrain::agent
