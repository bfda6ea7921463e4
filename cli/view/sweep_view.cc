#include "cli/view/sweep_view.h"

#include "base/strings.h"

namespace entrain::cli::view {
namespace {

using domain::RunState;

std::string_view HaltWords(domain::HaltReason reason) {
  switch (reason) {
    case domain::HaltReason::kNone: return "";
    case domain::HaltReason::kCollapse: return "entropy collapse";
    case domain::HaltReason::kOverload: return "entropy overload";
    case domain::HaltReason::kDivergence: return "divergence";
    case domain::HaltReason::kNonFinite: return "non-finite loss";
    case domain::HaltReason::kPlateau: return "plateau";
  }
  return "";
}

std::string Joined(std::string_view head, std::string_view reason) {
  return reason.empty() ? std::string(head) : StrCat(head, ": ", reason);
}

// Average tokens of one step, over the runs that have trained; 0 when none has.
double TokensPerStep(const SweepView& sweep) {
  double tokens = 0.0;
  double steps = 0.0;
  for (const RunView& run : sweep.runs) {
    tokens += static_cast<double>(run.tokens);
    steps += static_cast<double>(run.tokens > 0 ? run.step : 0);
  }
  return steps > 0.0 ? tokens / steps : 0.0;
}

}  // namespace

std::string StateText(const RunView& run) {
  if (run.state == RunState::kHalted && run.halt_reason != domain::HaltReason::kNone) {
    return StrCat("halted (", domain::ToString(run.halt_reason), ")");
  }
  return std::string(domain::ToString(run.state));
}

std::string ReasonText(const RunView& run) {
  switch (run.state) {
    case RunState::kHalted: {
      const std::string_view words = HaltWords(run.halt_reason);
      if (words.empty() || run.reason.rfind(words, 0) == 0) return Joined("stopped", run.reason);
      return StrCat("stopped: ", Joined(words, run.reason));
    }
    case RunState::kPruned: return Joined("stopped early", run.reason);
    case RunState::kFailed: return Joined("failed", run.reason);
    case RunState::kCancelled: return Joined("cancelled", run.reason);
    case RunState::kPaused: return Joined("paused", run.reason);
    case RunState::kStopping: return Joined("stopping", run.reason);
    case RunState::kQueued:
      if (run.never_placeable) return Joined("can never start", run.reason);
      return run.reason.empty() ? "" : StrCat("waiting: ", run.reason);
    default: return "";
  }
}

double Progress(const SweepView& sweep) {
  double done = 0.0;
  double all = 0.0;
  for (const RunView& run : sweep.runs) {
    all += static_cast<double>(run.steps);
    done += static_cast<double>(domain::IsFinal(run.state) ? run.steps : run.step);
  }
  return all > 0.0 ? done / all : 0.0;
}

std::int64_t RemainingMs(const SweepView& sweep) {
  const double average = TokensPerStep(sweep);
  double remaining_tokens = 0.0;
  double tokens_per_second = 0.0;
  for (const RunView& run : sweep.runs) {
    if (domain::IsFinal(run.state)) continue;
    if (run.state == RunState::kRunning) tokens_per_second += run.tokens_per_second;
    const bool trained = run.step > 0 && run.tokens > 0;
    const double per_step = trained ? static_cast<double>(run.tokens) / static_cast<double>(run.step) : average;
    remaining_tokens += per_step * static_cast<double>(run.steps - run.step);
  }
  if (remaining_tokens <= 0.0) return sweep.finished ? 0 : -1;
  if (!(tokens_per_second > 0.0)) return -1;
  return static_cast<std::int64_t>(1000.0 * remaining_tokens / tokens_per_second);
}

}  // namespace entrain::cli::view
