#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <vector>

#include "absl/strings/escaping.h"
#include "base/log_line.h"
#include "base/strings.h"
#include "base/utc_text.h"

namespace entrain {
namespace {

std::atomic<LogLevel> minimum_level{LogLevel::kInfo};

std::string& Component() {
  static std::string component = "entrain";
  return component;
}

std::vector<LogField>& Stamp() {
  static std::vector<LogField> stamp;
  return stamp;
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

// As JSON wants it; bytes that are no UTF-8 are passed on, as they came.
std::string JsonText(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", static_cast<unsigned>(c));
      quoted += escaped;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

LogFormat FormatWanted() {
  const char* wanted = std::getenv("ENTRAIN_LOG");
  return wanted != nullptr && std::string_view(wanted) == "json" ? LogFormat::kJson : LogFormat::kText;
}

}  // namespace

std::string LogLine(LogFormat format, std::string_view time, LogLevel level, std::string_view component, std::string_view message,
                    const std::vector<LogField>& fields) {
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
  const char* name = kNames[static_cast<int>(level)];
  if (format == LogFormat::kText) {
    std::string line = StrCat(time, " ", name, " ", component, " ", message);
    for (const auto& [key, value] : fields) StrAppend(&line, " ", key, "=", Quoted(value));
    return line;
  }
  std::string line = StrCat("{\"time\":", JsonText(time), ",\"level\":", JsonText(name), ",\"program\":", JsonText(component), ",\"message\":", JsonText(message));
  for (const auto& [key, value] : fields) StrAppend(&line, ",", JsonText(key), ":", JsonText(value));
  return line + "}";
}

void SetLogComponent(std::string_view component) { Component() = std::string(component); }
void StampLog(std::vector<LogField> fields) { Stamp() = std::move(fields); }
void SetLogLevel(LogLevel level) { minimum_level = level; }

void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) { Log(level, message, std::vector<LogField>(fields)); }

void Log(LogLevel level, std::string_view message, std::vector<LogField> fields) {
  if (level < minimum_level.load()) return;
  static const LogFormat format = FormatWanted();
  fields.insert(fields.end(), Stamp().begin(), Stamp().end());
  std::string line = LogLine(format, UtcText(WallMs()), level, Component(), message, fields);
  line += '\n';
  static std::mutex mutex;
  std::lock_guard<std::mutex> lock(mutex);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace entrain
