// A store out of a journal and a store of samples and logs that do not know of each other. Private to the store.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/store/store.h"

namespace entrain::store {

// `SamplesLane` is a SampleStore and a LogStore.
template <typename JournalLane, typename SamplesLane>
class TwoLanes : public Store {
 public:
  TwoLanes(std::unique_ptr<JournalLane> journal, std::unique_ptr<SamplesLane> samples)
      : journal_(std::move(journal)), samples_(std::move(samples)) {}

  absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) override {
    return journal_->Commit(events, facts);
  }
  absl::Status Replay(const std::function<void(domain::Fact)>& apply) override { return journal_->Replay(apply); }
  absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) override { return journal_->WriteSnapshot(facts); }
  std::int64_t FactsSinceSnapshot() override { return journal_->FactsSinceSnapshot(); }
  absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) override {
    return journal_->ReplayEvents(visit);
  }
  absl::StatusOr<std::int64_t> LastEventMs() override { return journal_->LastEventMs(); }
  absl::StatusOr<std::unique_ptr<Copy>> BeginCopy(const std::string& path) override { return journal_->BeginCopy(path); }
  absl::Status CopySamples(const std::string& path) override { return samples_->CopySamples(path); }

  absl::Status AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                             const std::vector<StoredEvaluation>& evaluations) override {
    return samples_->AppendSamples(run, context, samples, evaluations);
  }
  absl::StatusOr<std::vector<StoredSample>> ReadSamples(const RunId& run, std::int64_t context, std::int64_t after_step,
                                                        std::int64_t limit) override {
    return samples_->ReadSamples(run, context, after_step, limit);
  }
  absl::StatusOr<std::optional<StoredSample>> ReadLastSample(const RunId& run, std::int64_t context,
                                                             std::int64_t through_step) override {
    return samples_->ReadLastSample(run, context, through_step);
  }
  absl::StatusOr<std::vector<StoredEvaluation>> ReadEvaluations(const RunId& run) override {
    return samples_->ReadEvaluations(run);
  }
  absl::Status BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) override {
    return samples_->BeginAttempt(run, attempt, resume_step);
  }
  absl::StatusOr<std::int64_t> ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                           std::int64_t wall_ms) override {
    return samples_->ThinSamples(run, every, steps, wall_ms);
  }
  absl::StatusOr<Thinned> ThinnedBy(const RunId& run) override { return samples_->ThinnedBy(run); }
  absl::StatusOr<std::map<RunId, Usage>> ReadUsage() override { return samples_->ReadUsage(); }
  absl::StatusOr<std::int64_t> TrimLog(const RunId& run, std::int64_t keep_bytes) override { return samples_->TrimLog(run, keep_bytes); }
  absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) override {
    return samples_->AppendLog(run, attempt, lines);
  }
  absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                            std::int64_t limit) override {
    return samples_->ReadLog(run, attempt, after, limit);
  }

 private:
  const std::unique_ptr<JournalLane> journal_;
  const std::unique_ptr<SamplesLane> samples_;
};

}  // namespace entrain::store
