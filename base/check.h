// Checks for our own bugs. What the outside can cause is an absl::Status, never a check.
#pragma once

#include <string>

namespace entrain {

// Prints the failed condition with its place and ends the process.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, const std::string& message);

}  // namespace entrain

#define ENTRAIN_CHECK(condition)                                             \
  do {                                                                       \
    if (!(condition)) ::entrain::CheckFailed(__FILE__, __LINE__, #condition, ""); \
  } while (false)

// `message` is evaluated only when the check fails; it gives the values behind the condition.
#define ENTRAIN_CHECK_MSG(condition, message)                                       \
  do {                                                                              \
    if (!(condition)) ::entrain::CheckFailed(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
