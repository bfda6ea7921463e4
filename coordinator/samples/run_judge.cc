#include "coordinator/samples/run_judge.h"

#include <algorithm>

#include "base/status_macros.h"

namespace entrain::samples {
namespace {

// Samples read at once while catching up: bounds memory, whatever the run's length.
constexpr std::int64_t kPageSamples = 512;

policy::RunShape ShapeOf(const domain::RunSpec& spec) { return {spec.n_layer, spec.n_head, spec.context, spec.steps}; }

}  // namespace

RunJudge::RunJudge(const RunId& run, std::shared_ptr<const domain::RunSpec> spec, store::SampleStore* store)
    : run_(run), spec_(std::move(spec)), store_(store), policy_(spec_->health, ShapeOf(*spec_)) {}

absl::Status RunJudge::Begin(AttemptNumber attempt, std::int64_t resume_step, std::vector<EventBody>* events) {
  if (attempt < attempt_) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(store_->BeginAttempt(run_, attempt, resume_step));
  if (attempt > attempt_) {
    judge_through_.reset();
    // A verdict of the replaced attempt counts only where the successor starts after it.
    if (verdict_ && verdict_->step > resume_step) verdict_.reset();
    observed_step_ = std::min(observed_step_, resume_step);
    policy_.RewindTo(observed_step_);
  }
  attempt_ = attempt;
  resume_step_ = resume_step;
  // The core ignored it if it named the replaced attempt; that attempt's samples up to here are now this one's past.
  if (verdict_) SayVerdict(events);
  return CatchUp(events);
}

absl::Status RunJudge::CatchUp(std::vector<EventBody>* events) {
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const auto page, store_->ReadSamples(run_, spec_->context, observed_step_, kPageSamples));
    for (const store::StoredSample& stored : page) Observe(stored.attempt, stored.sample, events);
    if (static_cast<std::int64_t>(page.size()) < kPageSamples) break;
  }
  ENTRAIN_ASSIGN_OR_RETURN(auto last, store_->ReadLastSample(run_, spec_->context, observed_step_));
  progress_.latest = last ? std::move(last->sample) : domain::EntropySample{};
  ENTRAIN_ASSIGN_OR_RETURN(const auto evaluations, store_->ReadEvaluations(run_));
  progress_.evaluations.clear();
  for (const store::StoredEvaluation& stored : evaluations) progress_.evaluations.push_back(stored.evaluation);
  SayJudged(events);
  return absl::OkStatus();
}

void RunJudge::Observe(AttemptNumber attempt, const domain::EntropySample& sample, std::vector<EventBody>* events) {
  observed_step_ = sample.step;
  const std::optional<domain::Verdict> verdict = policy_.Observe(attempt, sample);
  if (!verdict || verdict_) return;
  verdict_ = verdict;
  SayVerdict(events);
}

void RunJudge::SayVerdict(std::vector<EventBody>* events) {
  verdict_->attempt = attempt_;
  events->emplace_back(domain::VerdictReached{run_, *verdict_});
}

void RunJudge::Feed(AttemptNumber attempt, const std::vector<domain::EntropySample>& samples,
                    const std::vector<domain::Evaluation>& evaluations, std::vector<EventBody>* events) {
  if (attempt != attempt_) return;
  for (const domain::EntropySample& sample : samples) {
    // A batch that was sent twice.
    if (sample.step <= std::max(observed_step_, resume_step_)) continue;
    Observe(attempt, sample, events);
    progress_.latest = sample;
  }
  for (const domain::Evaluation& evaluation : evaluations) {
    const bool known = !progress_.evaluations.empty() && evaluation.step <= progress_.evaluations.back().step;
    if (!known) progress_.evaluations.push_back(evaluation);
  }
  SayJudged(events);
}

void RunJudge::JudgeThrough(AttemptNumber attempt, std::int64_t last_step, std::vector<EventBody>* events) {
  if (attempt != attempt_) return;
  judge_through_ = last_step;
  SayJudged(events);
}

void RunJudge::SayJudged(std::vector<EventBody>* events) {
  // What lies before the attempt's start was judged with its predecessors, or is lost with them.
  const std::int64_t through = std::max(observed_step_, resume_step_);
  if (!judge_through_ || verdict_ || through < *judge_through_) return;
  events->emplace_back(domain::RunJudged{{run_, attempt_}, through});
  judge_through_.reset();
}

}  // namespace entrain::samples
