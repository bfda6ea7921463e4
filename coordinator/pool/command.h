// Runs one command of an engine to its end.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::pool {

struct CommandResult {
  int exit_code = 0;  // 128 + the signal's number when one ended it
  std::string output;
  std::string errors;
};

// `arguments` are the program's absolute path and what it gets; no shell sees them. `environment` ("NAME=value") is all that it inherits.
// NOT_FOUND when there is no such program, DEADLINE_EXCEEDED (and it is killed) after `limit_ms`, RESOURCE_EXHAUSTED when it writes more than
// 4 MiB. Blocks; any thread.
absl::StatusOr<CommandResult> RunCommand(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                                         const std::string& input, std::int64_t limit_ms);

}  // namespace entrain::pool
