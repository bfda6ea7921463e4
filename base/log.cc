#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <ctime>
#include <mutex>

#include "absl/strings/escaping.h"
#include "base/strings.h"
#include "base/utc_text.h"

namespace entrain {
namespace {

std::atomic<LogLevel> minimum_level{LogLevel::kInfo};

std::string& Component() {
  static std::string component = "entrain";
  return component;
}

std::int64_t WallMs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000 + now.tv_nsec / 1'000'000;
}

std::string Quoted(const std::string& value) {
  if (!value.empty() && value.find_first_of(" \"=\n\t") == std::string::npos) return value;
  return StrCat("\"", absl::CEscape(AbslArgument(value)), "\"");
}

}  // namespace

void SetLogComponent(std::string_view component) { Component() = std::string(component); }
void SetLogLevel(LogLevel level) { minimum_level = level; }

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (level < minimum_level.load()) return;
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
  std::string line = StrCat(UtcText(WallMs()), " ", kNames[static_cast<int>(level)], " ", Component(), " ", message);
  for (const auto& [key, value] : fields) StrAppend(&line, " ", key, "=", Quoted(value));
  line += '\n';
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace entrain
