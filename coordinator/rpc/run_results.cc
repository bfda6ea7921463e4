#include "coordinator/rpc/run_results.h"

#include <cmath>
#include <limits>

#include "base/log.h"
#include "coordinator/rpc/limits.h"

namespace entrain::rpc {
namespace {

void TakeSample(const domain::EntropySample& sample, RunResult* result) {
  result->step = sample.step;
  result->loss = sample.loss;
  result->tokens = sample.tokens;
  result->tokens_per_second = sample.tokens_per_second;
  result->entropy_nats = sample.entropy_nats;
}

void TakeEvaluation(const domain::Evaluation& evaluation, RunResult* result) {
  result->eval_loss = evaluation.loss;
  if (std::isnan(evaluation.loss)) return;
  if (result->best_eval_loss == 0.0 || evaluation.loss < result->best_eval_loss) result->best_eval_loss = evaluation.loss;
}

}  // namespace

RunResult RunResults::FromStore(const core::Run& run, std::int64_t through_step, bool* complete) {
  RunResult result;
  const auto sample = store_->ReadLastSample(run.id, run.spec->context, through_step);
  const auto evaluations = store_->ReadEvaluations(run.id);
  *complete = sample.ok() && evaluations.ok();
  if (!*complete) {
    const absl::Status& status = sample.ok() ? evaluations.status() : sample.status();
    Log(LogLevel::kError, "cannot read a run's samples", {{"run", run.id.value()}, {"reason", std::string(status.message())}});
    return result;
  }
  if (*sample) TakeSample((*sample)->sample, &result);
  for (const store::StoredEvaluation& stored : *evaluations) {
    if (stored.evaluation.step <= through_step) TakeEvaluation(stored.evaluation, &result);
  }
  return result;
}

RunResult RunResults::Of(const core::Run& run) {
  bool complete = false;
  if (!domain::IsFinal(run.state)) {
    if (run.attempt == 0) return {};
    const std::optional<samples::RunProgress> progress = lane_->ProgressOf(run.id);
    if (!progress) return FromStore(run, std::numeric_limits<std::int64_t>::max(), &complete);
    RunResult result;
    TakeSample(progress->latest, &result);
    for (const domain::Evaluation& evaluation : progress->evaluations) TakeEvaluation(evaluation, &result);
    return result;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto cached = final_.find(run.id);
    if (cached != final_.end()) return cached->second;
  }
  // A run that failed has no step that counts; its last one still says where it was.
  const bool counts = run.state == domain::RunState::kSucceeded || run.state == domain::RunState::kHalted;
  const std::int64_t through = counts ? run.result_step : std::numeric_limits<std::int64_t>::max();
  RunResult result = FromStore(run, through, &complete);
  // Samples of a run that ended by its record alone may still arrive.
  if (!complete || !counts || result.step < run.result_step) return result;
  std::lock_guard<std::mutex> lock(mutex_);
  if (final_.size() >= kMaxCachedResults) final_.clear();
  return final_[run.id] = std::move(result);
}

}  // namespace entrain::rpc
