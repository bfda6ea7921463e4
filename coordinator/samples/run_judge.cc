#include "coordinator/samples/run_judge.h"

#include <algorithm>

#include "base/status_macros.h"

namespace entrain::samples {
namespace {

// Samples read at once while catching up: bounds memory, whatever the run's length.
constexpr std::int64_t kPageSamples = 512;
// Between two words about a run with a stall limit, at least.
constexpr std::int64_t kProgressMs = 5'000;

policy::RunShape ShapeOf(const domain::RunSpec& spec) { return {spec.n_layer, spec.n_head, spec.context, spec.steps}; }

}  // namespace

RunJudge::RunJudge(const RunId& run, std::shared_ptr<const domain::RunSpec> spec, store::SampleStore* store)
    : run_(run),
      spec_(std::move(spec)),
      store_(store),
      policy_(spec_->health, ShapeOf(*spec_)),
      rung_steps_(domain::RungSteps(spec_->early_stopping, spec_->steps)) {}

absl::Status RunJudge::Begin(AttemptNumber attempt, std::int64_t resume_step, std::vector<EventBody>* events) {
  if (attempt < attempt_) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(store_->BeginAttempt(run_, attempt, resume_step));
  if (attempt > attempt_) {
    judge_through_.reset();
    // A verdict of the replaced attempt counts only where the successor starts after it.
    if (verdict_ && verdict_->step > resume_step) verdict_.reset();
    // Samples that were judged are replaced: the run's course is judged anew, from the first.
    if (observed_step_ > resume_step) {
      policy_ = policy::RunPolicy(spec_->health, ShapeOf(*spec_));
      observed_step_ = 0;
    }
  }
  attempt_ = attempt;
  resume_step_ = resume_step;
  // The core takes rungs of the current attempt alone: those of samples that this one kept are said again.
  rungs_said_ = 0;
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
  ENTRAIN_RETURN_IF_ERROR(SayRungs(events));
  SayJudged(events);
  return absl::OkStatus();
}

void RunJudge::Observe(AttemptNumber attempt, const domain::EntropySample& sample, std::vector<EventBody>* events) {
  observed_step_ = sample.step;
  const std::optional<domain::Verdict> verdict = policy_.Observe(attempt, sample);
  for (domain::Verdict& notice : policy_.TakeNotices()) {
    // The core passes over what it has on record.
    notice.attempt = attempt_;
    events->emplace_back(domain::VerdictReached{run_, std::move(notice)});
  }
  if (!verdict || verdict_) return;
  verdict_ = verdict;
  SayVerdict(events);
}

void RunJudge::SayVerdict(std::vector<EventBody>* events) {
  verdict_->attempt = attempt_;
  events->emplace_back(domain::VerdictReached{run_, *verdict_});
}

absl::Status RunJudge::Feed(AttemptNumber attempt, const std::vector<domain::EntropySample>& samples,
                            const std::vector<domain::Evaluation>& evaluations, std::vector<EventBody>* events) {
  if (attempt != attempt_) return absl::OkStatus();
  for (const domain::EntropySample& sample : samples) {
    // A batch that was sent twice.
    if (sample.step <= std::max(observed_step_, resume_step_)) continue;
    Observe(attempt, sample, events);
    progress_.latest = sample;
  }
  if (!samples.empty()) SayProgress(attempt, samples.back(), events);
  for (const domain::Evaluation& evaluation : evaluations) {
    const bool known = !progress_.evaluations.empty() && evaluation.step <= progress_.evaluations.back().step;
    if (!known) progress_.evaluations.push_back(evaluation);
  }
  ENTRAIN_RETURN_IF_ERROR(SayRungs(events));
  SayJudged(events);
  return absl::OkStatus();
}

void RunJudge::SayProgress(AttemptNumber attempt, const domain::EntropySample& sample, std::vector<EventBody>* events) {
  if (spec_->limits.stall_limit_s <= 0) return;
  // Not for every batch; the sample's time is a label, good enough for that.
  const std::int64_t since_ms = sample.wall_ms - progress_said_wall_ms_;
  if (since_ms >= 0 && since_ms < std::min(kProgressMs, spec_->limits.stall_limit_s * 1000 / 8)) return;
  progress_said_wall_ms_ = sample.wall_ms;
  events->emplace_back(domain::RunProgressed{{run_, attempt}});
}

absl::StatusOr<std::optional<domain::Evaluation>> RunJudge::ValueAt(std::int64_t rung_step) const {
  // Everything before the value is judged, so that a verdict there goes first.
  const std::int64_t judged = std::max(observed_step_, resume_step_);
  if (spec_->early_stopping.metric == domain::RungMetric::kEvalLoss) {
    for (const domain::Evaluation& evaluation : progress_.evaluations) {
      if (evaluation.step >= rung_step && evaluation.step <= judged) return std::optional(evaluation);
    }
    return std::optional<domain::Evaluation>();
  }
  if (judged < rung_step) return std::optional<domain::Evaluation>();
  const std::int64_t window = spec_->early_stopping.window_steps;
  ENTRAIN_ASSIGN_OR_RETURN(const auto page, store_->ReadSamples(run_, spec_->context, std::max<std::int64_t>(0, rung_step - window), window));
  domain::Evaluation mean;
  mean.step = rung_step;
  std::int64_t count = 0;
  for (const store::StoredSample& stored : page) {
    if (stored.sample.step > rung_step) break;
    mean.loss += stored.sample.loss;
    ++count;
  }
  mean.loss /= static_cast<double>(std::max<std::int64_t>(1, count));
  return std::optional(mean);
}

absl::Status RunJudge::SayRungs(std::vector<EventBody>* events) {
  for (; rungs_said_ < rung_steps_.size(); ++rungs_said_) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::optional<domain::Evaluation> value, ValueAt(rung_steps_[rungs_said_]));
    if (!value || (verdict_ && value->step >= verdict_->step)) break;
    events->emplace_back(domain::RungReached{{run_, attempt_}, static_cast<std::int64_t>(rungs_said_), value->step, value->loss});
  }
  return absl::OkStatus();
}

void RunJudge::JudgeThrough(AttemptNumber attempt, std::int64_t last_step, std::vector<EventBody>* events) {
  if (attempt != attempt_) return;
  judge_through_ = last_step;
  // The core passed over it if the run was held at a rung then; now it decides.
  if (verdict_ && verdict_->step <= last_step) SayVerdict(events);
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
