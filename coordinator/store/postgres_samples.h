// Samples, evaluations and logs in PostgreSQL, under a fence of their own, so that the two lanes never wait for each other. Thread-safe:
// writers share transactions; every row has its key before it is sent, so that a transaction may be sent twice.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "coordinator/store/current_steps.h"
#include "coordinator/store/group_commit.h"
#include "coordinator/store/postgres_lane.h"
#include "coordinator/store/store.h"

namespace entrain::store {

class PostgresSamples : public SampleStore, public LogStore {
 public:
  static absl::StatusOr<std::unique_ptr<PostgresSamples>> Open(PostgresLease* lease);

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
  absl::StatusOr<std::int64_t> TrimLog(const RunId& run, std::int64_t keep_bytes) override;
  absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) override;
  absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                            std::int64_t limit) override;

 private:
  // What one caller wants written; of one run.
  struct Write {
    RunId run;
    struct Sample {
      AttemptNumber attempt;
      std::int64_t step;
      std::string body;
    };
    std::vector<Sample> samples;
    const std::vector<StoredEvaluation>* evaluations = nullptr;
    std::optional<std::pair<AttemptNumber, std::int64_t>> begins;  // with its resume step
    AttemptNumber log_attempt = 0;
    const std::vector<std::string>* lines = nullptr;
    // Instead of all that: one statement of retention, with the fence before it; its values come from $3 on.
    std::string change;
    std::function<void(PostgresValues*)> bind_change;
  };
  explicit PostgresSamples(PostgresLease* lease)
      : lane_(lease, "samples"), reader_(lease), group_([this](const auto& writes) { return WriteAll(writes); }) {}
  absl::Status WriteAll(const std::vector<const Write*>& writes);
  // A change of rows `WHERE where`, and how many there were.
  absl::StatusOr<std::int64_t> Delete(const std::string& table, const std::string& where, const std::function<void(PostgresValues*)>& bind);
  absl::Status Change(const std::string& sql, const std::function<void(PostgresValues*)>& bind);
  absl::Status LearnLastLines(const std::vector<const Write*>& writes);
  static void BindSamples(const std::vector<const Write*>& writes, PostgresValues* values);
  static void BindEvaluations(const std::vector<const Write*>& writes, PostgresValues* values);
  static void BindAttempts(const std::vector<const Write*>& writes, PostgresValues* values);
  void BindLines(const std::vector<const Write*>& writes, PostgresValues* values);
  absl::StatusOr<StoredSample> Decode(const RunId& run, std::int64_t context, AttemptNumber attempt, std::int64_t step,
                                      std::string_view body) const;
  // These two need `reading_`.
  absl::StatusOr<PostgresRows> Ask(const std::string& sql, const PostgresValues& values) { return reader_.Run(sql, values); }
  absl::StatusOr<std::map<AttemptNumber, std::int64_t>> ReadAttempts(const RunId& run);

  PostgresLane lane_;
  std::mutex reading_;
  PostgresReader reader_;
  // The number of a run's last line; the group's leader alone uses it.
  std::unordered_map<RunId, std::int64_t> last_lines_;
  GroupCommit<Write> group_;
};

}  // namespace entrain::store
