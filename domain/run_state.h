// States, reasons and causes, with the one spelling of each that people, SQL, metrics and JSON see.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "domain/health_rules.h"

namespace entrain::domain {

enum class RunState {
  kQueued, kStarting, kRunning, kPaused, kStopping,
  // Final:
  kSucceeded, kHalted, kPruned, kFailed, kCancelled
};
bool IsFinal(RunState state);

// Why a health rule halted a run.
enum class HaltReason { kNone, kCollapse, kOverload, kDivergence, kNonFinite, kPlateau };

// How an attempt ended, as its terminal records and exit say.
enum class EndCause {
  kCompleted,    // trained its last step
  kStopped,      // checkpointed and ended because it was asked to
  kNonFinite,    // loss or gradient not finite
  kUserError,    // the configuration or data cannot be used
  kOutOfMemory,
  kStorage,      // disk full, unreadable or unwritable files
  kLaunch,       // the gang never started
  kCrashed,      // a process died without a record
  kMachineLost,  // its machine stopped answering
  kFenced,       // it learned that a successor replaced it
  kDevice,       // the accelerator failed or is gone
};

// The class of a failure decides about retries: domain/failure_rules.h.
enum class FailureClass { kNone, kUserError, kOutOfMemory, kLostMachine, kStorage, kLaunch, kCrash, kDevice, kStalled, kTimeLimit };
FailureClass ClassOf(EndCause cause);

std::string_view ToString(RunState state);        // "queued", ..., "cancelled"
std::string_view ToString(HaltReason reason);     // "collapse", ...
std::string_view ToString(EndCause cause);        // "completed", "stopped", "non_finite", ...
std::string_view ToString(FailureClass failure);  // "user_error", ...
std::optional<RunState> ParseRunState(std::string_view text);
std::optional<HaltReason> ParseHaltReason(std::string_view text);
std::optional<EndCause> ParseEndCause(std::string_view text);
std::optional<FailureClass> ParseFailureClass(std::string_view text);

// A policy's judgement of one attempt's samples, with what it rests on.
struct Verdict {
  AttemptNumber attempt = 0;
  // The observation at which the rule fired; the run's results are those of this step.
  std::int64_t step = 0;
  HaltReason reason = HaltReason::kNone;
  // The rule's name in the sweep file, e.g. "collapse.whole_layer".
  std::string rule;
  // Heads that the rule counted, as layer * n_head + head.
  std::vector<std::int32_t> heads;
  // Steps of the observations, and at each the value that was compared with `limit`.
  std::vector<std::int64_t> steps;
  std::vector<double> values;
  double limit = 0.0;
  // One sentence for people, with the numbers.
  std::string explanation;
  // What follows from it.
  RuleAction action = RuleAction::kStopAndKeep;
  // The layers that it speaks of; empty: of the run as a whole.
  std::vector<std::int32_t> layers;
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

}  // namespace entrain::domain
