// Samples, evaluations and logs in a SQLite file of their own. Thread-safe: writers share transactions, readers see what is
// committed and wait for no writer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/store/current_steps.h"
#include "coordinator/store/group_commit.h"
#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace entrain::store {

class SqliteSamples : public SampleStore, public LogStore {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteSamples>> Open(const std::string& path);

  absl::Status AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                             const std::vector<StoredEvaluation>& evaluations) override;
  absl::StatusOr<std::vector<StoredSample>> ReadSamples(const RunId& run, std::int64_t context, std::int64_t after_step,
                                                        std::int64_t limit) override;
  absl::StatusOr<std::optional<StoredSample>> ReadLastSample(const RunId& run, std::int64_t context,
                                                             std::int64_t through_step) override;
  absl::StatusOr<std::vector<StoredEvaluation>> ReadEvaluations(const RunId& run) override;
  absl::Status BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) override;
  absl::StatusOr<std::int64_t> ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                           std::int64_t wall_ms) override;
  absl::StatusOr<Thinned> ThinnedBy(const RunId& run) override;
  absl::StatusOr<std::map<RunId, Usage>> ReadUsage() override;
  absl::Status CopySamples(const std::string& path) override;
  absl::StatusOr<std::int64_t> TrimLog(const RunId& run, std::int64_t keep_bytes) override;
  absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) override;
  absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                            std::int64_t limit) override;

 private:
  struct Row {
    AttemptNumber attempt;
    std::int64_t step;
    std::string body;
  };
  SqliteSamples(std::unique_ptr<Database> writer, std::unique_ptr<Database> reader)
      : writer_(std::move(writer)), reader_(std::move(reader)), group_([this](const auto& writes) { return RunAll(writes); }) {}
  using Write = std::function<absl::Status()>;
  absl::Status RunAll(const std::vector<const Write*>& writes);
  absl::Status Prepare();
  absl::Status InsertSamples(const RunId& run, const std::vector<Row>& rows);
  absl::Status InsertEvaluations(const RunId& run, const std::vector<StoredEvaluation>& evaluations);
  absl::Status InsertLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines);
  // Runs the statement in a transaction of its own among those of other writers; how many rows it changed.
  absl::StatusOr<std::int64_t> Change(const std::string& sql, const std::function<void(Statement*)>& bind);
  absl::StatusOr<std::int64_t> LastStepOf(const RunId& run, const StepRange& range);
  absl::StatusOr<std::optional<Row>> ReadLastRow(const RunId& run, std::int64_t through_step);
  absl::StatusOr<StoredSample> Decode(const RunId& run, std::int64_t context, const Row& row) const;
  // These two need `reading_`.
  absl::StatusOr<std::map<AttemptNumber, std::int64_t>> ReadAttempts(const RunId& run);
  absl::Status ReadRows(const RunId& run, std::int64_t after_step, std::int64_t limit, std::vector<Row>* rows);

  const std::unique_ptr<Database> writer_;
  const std::unique_ptr<Database> reader_;
  // Used by the group's leader alone.
  Statement insert_sample_, insert_evaluation_, insert_attempt_, last_line_, insert_line_;
  GroupCommit<Write> group_;
  std::mutex reading_;
  Statement read_attempts_, read_samples_, read_last_sample_, read_evaluations_, read_log_, read_thinned_;
};

}  // namespace entrain::store
