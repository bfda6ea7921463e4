// One run in the sample lane: its policy, how far it has judged, and what people see of its progress. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/store/store.h"
#include "domain/event.h"
#include "domain/sweep.h"
#include "policy/policy.h"

namespace entrain::samples {

using EventBody = decltype(domain::Event::body);

// Where a run is, from its stored samples. `latest.step` 0: no sample yet.
struct RunProgress {
  domain::EntropySample latest;
  std::vector<domain::Evaluation> evaluations;  // current ones, in step order
};

class RunJudge {
 public:
  RunJudge(const RunId& run, std::shared_ptr<const domain::RunSpec> spec, store::SampleStore* store);

  // The attempt starts after `resume_step`: forgets later samples and catches up with what is stored. Events go to `events`.
  absl::Status Begin(AttemptNumber attempt, std::int64_t resume_step, std::vector<EventBody>* events);
  // Samples and evaluations of one stored batch, as the store gives them back. Those of another attempt wait for its Begin.
  absl::Status Feed(AttemptNumber attempt, const std::vector<domain::EntropySample>& samples,
            const std::vector<domain::Evaluation>& evaluations, std::vector<EventBody>* events);
  // RunJudged follows once everything up to `last_step` was judged without a verdict.
  void JudgeThrough(AttemptNumber attempt, std::int64_t last_step, std::vector<EventBody>* events);

  const RunProgress& progress() const { return progress_; }

 private:
  void Observe(AttemptNumber attempt, const domain::EntropySample& sample, std::vector<EventBody>* events);
  // Rungs of early stopping that the run has come to and that were not said for this attempt.
  absl::Status SayRungs(std::vector<EventBody>* events);
  absl::StatusOr<std::optional<domain::Evaluation>> ValueAt(std::int64_t rung_step) const;
  void SayProgress(AttemptNumber attempt, const domain::EntropySample& sample, std::vector<EventBody>* events);
  // Names the attempt that is current now.
  void SayVerdict(std::vector<EventBody>* events);
  void SayJudged(std::vector<EventBody>* events);
  absl::Status CatchUp(std::vector<EventBody>* events);

  const RunId run_;
  const std::shared_ptr<const domain::RunSpec> spec_;
  store::SampleStore* const store_;
  policy::RunPolicy policy_;
  AttemptNumber attempt_ = 0;  // 0: none has begun since this process started
  std::int64_t resume_step_ = 0;
  std::int64_t observed_step_ = 0;
  std::optional<domain::Verdict> verdict_;
  std::optional<std::int64_t> judge_through_;
  const std::vector<std::int64_t> rung_steps_;
  std::size_t rungs_said_ = 0;
  std::int64_t progress_said_wall_ms_ = 0;
  RunProgress progress_;
};

}  // namespace entrain::samples
