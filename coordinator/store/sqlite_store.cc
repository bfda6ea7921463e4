#include <filesystem>

#include "base/status_macros.h"
#include "coordinator/store/sqlite_journal.h"
#include "coordinator/store/sqlite_samples.h"
#include "coordinator/store/store.h"

namespace entrain::store {
namespace {

class SqliteStore : public Store {
 public:
  SqliteStore(std::unique_ptr<SqliteJournal> journal, std::unique_ptr<SqliteSamples> samples)
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
  absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) override {
    return samples_->AppendLog(run, attempt, lines);
  }
  absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                            std::int64_t limit) override {
    return samples_->ReadLog(run, attempt, after, limit);
  }

 private:
  const std::unique_ptr<SqliteJournal> journal_;
  const std::unique_ptr<SqliteSamples> samples_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path) {
  // The journal's lock guards both files: whoever holds it is the only one to open the second.
  ENTRAIN_ASSIGN_OR_RETURN(auto journal, SqliteJournal::Open(path));
  const std::filesystem::path samples_path = std::filesystem::path(path).replace_extension(".samples.db");
  ENTRAIN_ASSIGN_OR_RETURN(auto samples, SqliteSamples::Open(samples_path.string()));
  return std::make_unique<SqliteStore>(std::move(journal), std::move(samples));
}

}  // namespace entrain::store
