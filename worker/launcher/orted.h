// Open MPI's daemon on the machines of a gang other than the head's. mpirun hands its agent a shell command for it; of that only the few
// values below travel, checked at both ends, and the machine that runs orted builds the command itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::launcher {

struct OrtedParameters {
  std::uint32_t job_id = 0;
  std::uint32_t daemon = 0;   // its number; mpirun itself is 0
  std::uint32_t daemons = 0;  // mpirun counted
  std::string nodes;          // the host names, compressed as Open MPI does it
  std::uint32_t head_port = 0;
  friend bool operator==(const OrtedParameters&, const OrtedParameters&) = default;
};

// INVALID_ARGUMENT names the value that is impossible for a gang of so many machines.
absl::Status CheckOrtedParameters(const OrtedParameters& parameters, std::uint32_t machines);

// What mpirun (Open MPI 4.1) appends to the host when it calls its agent. INVALID_ARGUMENT when it is anything but the start of orted
// with the parameters that our own mpirun command leads to.
absl::StatusOr<OrtedParameters> ParseOrtedCommand(const std::vector<std::string>& words);

// The command on this machine, from `spec`'s addresses and the checked parameters alone.
std::vector<std::string> OrtedArguments(const OrtedParameters& parameters, const attempt::AttemptSpec& spec, const std::string& orted);

// The file `orted` of the attempt folder, from the daemon to the supervisor.
absl::Status WriteOrtedParameters(const attempt::AttemptFolder& folder, const OrtedParameters& parameters);
absl::StatusOr<OrtedParameters> ReadOrtedParameters(const attempt::AttemptFolder& folder);

}  // namespace entrain::launcher
