// The form of a log line: apart from log.h, which nearly everything includes.
//
// With ENTRAIN_LOG=json in the environment Log writes one JSON object a line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"

namespace entrain {

enum class LogFormat { kText, kJson };

// Fields of every line of this process from now on, behind the line's own: of a rank its run, attempt and rank. Before other threads log.
void StampLog(std::vector<LogField> fields);

// As the other one; for fields that are put together elsewhere.
void Log(LogLevel level, std::string_view message, std::vector<LogField> fields);

// What Log writes, without the newline.
std::string LogLine(LogFormat format, std::string_view time, LogLevel level, std::string_view component, std::string_view message,
                    const std::vector<LogField>& fields);

}  // namespace entrain
