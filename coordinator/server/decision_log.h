// The log's line for a decision, with the ids of its run and attempt, so that a run can be followed through the logs of coordinator and workers.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/log.h"
#include "domain/fact.h"

namespace entrain::server {

struct DecisionLine {
  LogLevel level = LogLevel::kInfo;
  std::string_view message;  // a literal
  std::vector<LogField> fields;
};

// Of a fact that people follow: sweeps and runs from their submission to their end, attempts, verdicts, and workers that fall silent, drain, are
// quarantined or forgotten. Every other fact has none.
std::optional<DecisionLine> LineOf(const domain::Fact& fact);

// Writes them, on a thread of its own: whoever decides must not wait for a terminal or a collector that does not read. The clock of a line is the
// moment of its writing.
class DecisionLog {
 public:
  DecisionLog();
  // Writes what is left.
  ~DecisionLog();
  DecisionLog(const DecisionLog&) = delete;
  DecisionLog& operator=(const DecisionLog&) = delete;

  // Never blocks. When thousands wait already, it is counted instead, and the count is written.
  void Add(const domain::Fact& fact);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<DecisionLine> waiting_;
  std::int64_t dropped_ = 0;
  bool ending_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace entrain::server
