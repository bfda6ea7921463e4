// Starting another program. Its signals are as a fresh process has them: neither what this process blocks nor what it ignores is inherited.
#pragma once

#include <sys/types.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain {

struct SpawnOptions {
  // Descriptors of this process that become the program's standard input, output and error; every other one with O_CLOEXEC stays behind.
  std::array<int, 3> streams{0, 1, 2};
  // "NAME=value" each; nullopt: this process's.
  std::optional<std::vector<std::string>> environment;
  // Apart from this process's terminal and group.
  bool new_session = false;
};

// The first argument is the program's path; nothing is searched for. The caller waits for it.
absl::StatusOr<pid_t> Spawn(std::vector<std::string> arguments, SpawnOptions options);

}  // namespace entrain
