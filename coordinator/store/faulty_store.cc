#include "coordinator/store/faulty_store.h"

#include "base/status_macros.h"

namespace entrain::store {
namespace {

class FaultyStore : public Store {
 public:
  FaultyStore(Store* inner, const FaultPlan& plan) : inner_(inner), plan_(plan) {}

  absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) override {
    if (++commits_ != plan_.fail_commit) return inner_->Commit(events, facts);
    if (plan_.fault == Fault::kUnknown) ENTRAIN_RETURN_IF_ERROR(inner_->Commit(events, facts));
    if (plan_.fault == Fault::kTorn) {
      const auto half = facts.begin() + static_cast<std::ptrdiff_t>(facts.size() / 2);
      ENTRAIN_RETURN_IF_ERROR(inner_->Commit({}, {facts.begin(), half}));
    }
    return absl::ResourceExhaustedError("injected fault: commit");
  }
  absl::Status AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                             const std::vector<StoredEvaluation>& evaluations) override {
    if (++appends_ != plan_.fail_append) return inner_->AppendSamples(run, context, samples, evaluations);
    if (plan_.fault != Fault::kRefused) ENTRAIN_RETURN_IF_ERROR(inner_->AppendSamples(run, context, samples, evaluations));
    return absl::ResourceExhaustedError("injected fault: samples");
  }

  absl::Status Replay(const std::function<void(domain::Fact)>& apply) override { return inner_->Replay(apply); }
  absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) override {
    if (++snapshots_ != plan_.fail_snapshot) return inner_->WriteSnapshot(facts);
    if (plan_.fault == Fault::kUnknown) ENTRAIN_RETURN_IF_ERROR(inner_->WriteSnapshot(facts));
    return absl::ResourceExhaustedError("injected fault: snapshot");
  }
  std::int64_t FactsSinceSnapshot() override { return inner_->FactsSinceSnapshot(); }
  absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) override {
    return inner_->ReplayEvents(visit);
  }
  absl::StatusOr<std::int64_t> LastEventMs() override { return inner_->LastEventMs(); }
  absl::StatusOr<std::vector<StoredSample>> ReadSamples(const RunId& run, std::int64_t context, std::int64_t after_step,
                                                        std::int64_t limit) override {
    return inner_->ReadSamples(run, context, after_step, limit);
  }
  absl::StatusOr<std::optional<StoredSample>> ReadLastSample(const RunId& run, std::int64_t context,
                                                             std::int64_t through_step) override {
    return inner_->ReadLastSample(run, context, through_step);
  }
  absl::StatusOr<std::vector<StoredEvaluation>> ReadEvaluations(const RunId& run) override {
    return inner_->ReadEvaluations(run);
  }
  absl::Status BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) override {
    return inner_->BeginAttempt(run, attempt, resume_step);
  }
  absl::StatusOr<std::int64_t> ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                           std::int64_t wall_ms) override {
    return inner_->ThinSamples(run, every, steps, wall_ms);
  }
  absl::StatusOr<Thinned> ThinnedBy(const RunId& run) override { return inner_->ThinnedBy(run); }
  absl::StatusOr<std::map<RunId, Usage>> ReadUsage() override { return inner_->ReadUsage(); }
  absl::StatusOr<std::int64_t> TrimLog(const RunId& run, std::int64_t keep_bytes) override { return inner_->TrimLog(run, keep_bytes); }
  absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) override {
    return inner_->AppendLog(run, attempt, lines);
  }
  absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                            std::int64_t limit) override {
    return inner_->ReadLog(run, attempt, after, limit);
  }

 private:
  Store* const inner_;
  const FaultPlan plan_;
  std::int64_t commits_ = 0;
  std::int64_t appends_ = 0;
  std::int64_t snapshots_ = 0;
};

}  // namespace

std::unique_ptr<Store> MakeFaultyStore(Store* inner, const FaultPlan& plan) { return std::make_unique<FaultyStore>(inner, plan); }

}  // namespace entrain::store
