// A wall-clock label for logs.
#pragma once

#include <cstdint>
#include <string>

namespace entrain {

// "2026-11-24T06:33:12.048Z" of milliseconds since 1970.
std::string UtcText(std::int64_t wall_ms);

}  // namespace entrain
