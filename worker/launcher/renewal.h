// How a daemon tells the supervisors of its machine that it lives: it touches a file in the attempt folder.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"

namespace entrain::launcher {

// The daemon, every few seconds.
absl::Status RenewGang(const std::string& folder);
// A number that changes with every renewal and means nothing else; 0 before the first.
std::int64_t RenewalStampNs(const std::string& folder);

}  // namespace entrain::launcher
