#include "reports/run_result.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "base/strings.h"

namespace entrain::reports {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

std::span<const domain::EntropySample> CountedSamples(const RunData& run) {
  const std::int64_t last = LastCountedStep(run);
  const auto end = std::upper_bound(run.samples.begin(), run.samples.end(), last,
                                    [](std::int64_t step, const auto& sample) { return step < sample.step; });
  return {run.samples.begin(), end};
}

double PerplexityOf(const RunData& run) {
  const std::int64_t last = LastCountedStep(run);
  for (auto it = run.evaluations.rbegin(); it != run.evaluations.rend(); ++it) {
    if (it->step > last) continue;
    const double perplexity = std::exp(it->loss);
    return std::isfinite(perplexity) ? perplexity : kNan;
  }
  return kNan;
}

double LossOf(std::span<const domain::EntropySample> samples) {
  if (samples.empty()) return kNan;
  const std::size_t n = std::clamp<std::size_t>(samples.size() / 20, 1, 20);
  double sum = 0;
  for (const auto& sample : samples.last(n)) sum += sample.loss;
  return sum / static_cast<double>(n);
}

double MedianTokensPerSecond(std::span<const domain::EntropySample> samples) {
  std::vector<double> rates;
  for (const auto& sample : samples) {
    if (std::isfinite(sample.tokens_per_second)) rates.push_back(sample.tokens_per_second);
  }
  if (rates.empty()) return kNan;
  const auto middle = rates.begin() + static_cast<std::ptrdiff_t>(rates.size() / 2);
  std::nth_element(rates.begin(), middle, rates.end());
  return *middle;
}

bool IsSeed(const std::string& axis) { return axis == "seed" || axis.ends_with(".seed"); }

std::string_view PhraseOf(domain::HaltReason reason) {
  switch (reason) {
    case domain::HaltReason::kNone: break;
    case domain::HaltReason::kCollapse: return "entropy collapse";
    case domain::HaltReason::kOverload: return "entropic overload";
    case domain::HaltReason::kDivergence: return "divergence";
    case domain::HaltReason::kNonFinite: return "non-finite loss or gradients";
    case domain::HaltReason::kPlateau: return "plateau";
  }
  return "health rule";
}

}  // namespace

std::int64_t LastCountedStep(const RunData& run) {
  if (run.result_step > 0) return run.result_step;
  if (run.verdict.reason != domain::HaltReason::kNone) return run.verdict.step;
  return std::numeric_limits<std::int64_t>::max();
}

RunResult ResultOf(const RunData& run) {
  const auto samples = CountedSamples(run);
  RunResult result;
  result.completed = run.state == domain::RunState::kSucceeded;
  result.sample = samples.empty() ? nullptr : &samples.back();
  result.perplexity = PerplexityOf(run);
  result.loss = LossOf(samples);
  result.tokens_per_second = MedianTokensPerSecond(samples);
  if (result.sample != nullptr) result.step = result.sample->step;
  for (const auto& evaluation : run.evaluations) {
    if (evaluation.step <= LastCountedStep(run)) result.step = std::max(result.step, evaluation.step);
  }
  return result;
}

std::string AxesText(const std::map<std::string, std::string>& axes) {
  std::string text;
  for (const auto& [name, value] : axes) {
    if (!IsSeed(name)) StrAppend(&text, text.empty() ? "" : " ", name, "=", value);
  }
  return text;
}

std::string RowName(const RunData& run) {
  const std::string axes = AxesText(run.axes);
  return axes.empty() ? run.variant : StrCat(run.variant, " ", axes);
}

std::string StateText(const RunData& run) {
  std::string text(domain::ToString(run.state));
  if (run.state == domain::RunState::kHalted) StrAppend(&text, " (", domain::ToString(run.verdict.reason), ")");
  return text;
}

std::string OutcomeText(const RunData& run) {
  if (run.state == domain::RunState::kPruned) return "stopped early: others were ahead";
  if (run.state != domain::RunState::kHalted) return std::string(domain::ToString(run.state));
  return StrCat("stopped: ", PhraseOf(run.verdict.reason));
}

bool WasStopped(const RunData& run) {
  return run.state == domain::RunState::kHalted || run.state == domain::RunState::kPruned;
}

std::string ReasonText(const RunData& run) {
  if (run.verdict.reason != domain::HaltReason::kNone && !run.verdict.explanation.empty()) return run.verdict.explanation;
  return run.reason;
}

}  // namespace entrain::reports
