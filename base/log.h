// Structured logs: one line an event on standard error, `time level component message key=value ...`, values quoted when needed.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace entrain {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

using LogField = std::pair<std::string_view, std::string>;

// The program's name, stamped on every line; called once in main.
void SetLogComponent(std::string_view component);
void SetLogLevel(LogLevel level);
// Thread-safe.
void Log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});

}  // namespace entrain
