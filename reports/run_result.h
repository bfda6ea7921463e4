// What one run is worth: its numbers at the step that counts. A halted run's are those of its verdict's step; what it did later is
// kept and not counted.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "domain/sample.h"
#include "reports/report.h"

namespace entrain::reports {

struct RunResult {
  // Trained to its last step.
  bool completed = false;
  // The step whose results count; 0 when there is no sample and no evaluation.
  std::int64_t step = 0;
  // NaN when there is none.
  double perplexity = 0;
  double loss = 0;
  double tokens_per_second = 0;
  // The newest sample that counts; null when there is none.
  const domain::EntropySample* sample = nullptr;
};

// Points into `run`.
RunResult ResultOf(const RunData& run);

// The step after which nothing of the run counts.
std::int64_t LastCountedStep(const RunData& run);

// Axis values other than the seed: "reg_gamma=0.2"; empty when there are none.
std::string AxesText(const std::map<std::string, std::string>& axes);
// As a row of the leaderboard is called: the variant, with its axis values other than the seed.
std::string RowName(const RunData& run);

// "succeeded", "halted (collapse)", ...: the state as it is stored.
std::string StateText(const RunData& run);

// The same in words: "succeeded", "stopped: entropy collapse", ...
std::string OutcomeText(const RunData& run);

// Ended by a health rule or by early stopping.
bool WasStopped(const RunData& run);

// Why it ended or waits, as one sentence; empty when there is nothing to say.
std::string ReasonText(const RunData& run);

}  // namespace entrain::reports
