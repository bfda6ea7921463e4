#include "coordinator/store/sqlite_samples.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/current_steps.h"
#include "coordinator/store/sample_codec.h"

namespace entrain::store {
namespace {

// A file beyond this is not checked as a whole on open; damage then shows when it is read.
constexpr std::int64_t kCheckLimitBytes = 256 << 20;

const char* const kSamplesSchema1 = R"sql(
  CREATE TABLE attempts (
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    resume_step INTEGER NOT NULL,
    PRIMARY KEY (run, attempt)
  ) WITHOUT ROWID;
  CREATE TABLE samples (
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (run, attempt, step)
  ) WITHOUT ROWID;
  CREATE TABLE evaluations (
    run TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    step INTEGER NOT NULL,
    loss REAL,  -- NULL: not a number
    tokens INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL,
    PRIMARY KEY (run, attempt, step)
  ) WITHOUT ROWID;
  CREATE TABLE log_lines (
    run TEXT NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    line BLOB NOT NULL,
    PRIMARY KEY (run, number)
  ) WITHOUT ROWID;
)sql";

// Runs whose samples retention thinned.
const char* const kSamplesSchema2 = R"sql(
  CREATE TABLE thinned (
    run TEXT PRIMARY KEY,
    every INTEGER NOT NULL,
    wall_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
)sql";

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteSamples>> SqliteSamples::Open(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(auto writer, Database::Open(path, {}));
  ENTRAIN_RETURN_IF_ERROR(Migrate(writer.get(), {kSamplesSchema1, kSamplesSchema2}, kCheckLimitBytes));
  ENTRAIN_ASSIGN_OR_RETURN(auto reader, Database::Open(path, {.read_only = true, .exclusive = false}));
  std::unique_ptr<SqliteSamples> samples(new SqliteSamples(std::move(writer), std::move(reader)));
  ENTRAIN_RETURN_IF_ERROR(samples->Prepare());
  return samples;
}

absl::Status SqliteSamples::Prepare() {
  ENTRAIN_ASSIGN_OR_RETURN(insert_sample_, writer_->Prepare("INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?)"));
  ENTRAIN_ASSIGN_OR_RETURN(insert_evaluation_,
                           writer_->Prepare("INSERT OR IGNORE INTO evaluations VALUES (?, ?, ?, ?, ?, ?)"));
  ENTRAIN_ASSIGN_OR_RETURN(insert_attempt_, writer_->Prepare("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)"));
  ENTRAIN_ASSIGN_OR_RETURN(last_line_, writer_->Prepare("SELECT coalesce(max(number), 0) FROM log_lines WHERE run = ?"));
  ENTRAIN_ASSIGN_OR_RETURN(insert_line_, writer_->Prepare("INSERT INTO log_lines VALUES (?, ?, ?, ?)"));
  ENTRAIN_ASSIGN_OR_RETURN(read_attempts_, reader_->Prepare("SELECT attempt, resume_step FROM attempts WHERE run = ?"));
  ENTRAIN_ASSIGN_OR_RETURN(read_samples_, reader_->Prepare(
      "SELECT step, body FROM samples WHERE run = ? AND attempt = ? AND step > ? AND step <= ? ORDER BY step LIMIT ?"));
  ENTRAIN_ASSIGN_OR_RETURN(read_last_sample_, reader_->Prepare(
      "SELECT step, body FROM samples WHERE run = ? AND attempt = ? AND step > ? AND step <= ? ORDER BY step DESC LIMIT 1"));
  ENTRAIN_ASSIGN_OR_RETURN(read_evaluations_, reader_->Prepare(
      "SELECT step, loss, tokens, wall_ms, loss IS NULL FROM evaluations"
      " WHERE run = ? AND attempt = ? AND step > ? AND step <= ? ORDER BY step"));
  ENTRAIN_ASSIGN_OR_RETURN(read_log_, reader_->Prepare(
      "SELECT attempt, number, line FROM log_lines WHERE run = ?1 AND number > ?2 AND (?3 = 0 OR attempt = ?3)"
      " ORDER BY number LIMIT ?4"));
  ENTRAIN_ASSIGN_OR_RETURN(read_thinned_, reader_->Prepare("SELECT every, wall_ms FROM thinned WHERE run = ?"));
  return absl::OkStatus();
}

absl::Status SqliteSamples::RunAll(const std::vector<const Write*>& writes) {
  return writer_->Transact([&]() -> absl::Status {
    for (const Write* write : writes) ENTRAIN_RETURN_IF_ERROR((*write)());
    return absl::OkStatus();
  });
}

absl::Status SqliteSamples::InsertSamples(const RunId& run, const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    insert_sample_.BindText(1, run.value());
    insert_sample_.Bind(2, std::int64_t{row.attempt});
    insert_sample_.Bind(3, row.step);
    insert_sample_.BindBlob(4, row.body);
    ENTRAIN_RETURN_IF_ERROR(insert_sample_.Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteSamples::InsertEvaluations(const RunId& run, const std::vector<StoredEvaluation>& evaluations) {
  for (const StoredEvaluation& stored : evaluations) {
    insert_evaluation_.BindText(1, run.value());
    insert_evaluation_.Bind(2, std::int64_t{stored.attempt});
    insert_evaluation_.Bind(3, stored.evaluation.step);
    insert_evaluation_.Bind(4, stored.evaluation.loss);
    insert_evaluation_.Bind(5, stored.evaluation.tokens);
    insert_evaluation_.Bind(6, stored.evaluation.wall_ms);
    ENTRAIN_RETURN_IF_ERROR(insert_evaluation_.Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteSamples::AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                                          const std::vector<StoredEvaluation>& evaluations) {
  std::vector<Row> rows;
  rows.reserve(samples.size());
  for (const StoredSample& stored : samples) {
    rows.push_back({stored.attempt, stored.sample.step, EncodeSample(stored.sample, context)});
  }
  return group_.Run([&]() -> absl::Status {
    ENTRAIN_RETURN_IF_ERROR(InsertSamples(run, rows));
    return InsertEvaluations(run, evaluations);
  });
}

absl::StatusOr<std::map<AttemptNumber, std::int64_t>> SqliteSamples::ReadAttempts(const RunId& run) {
  std::map<AttemptNumber, std::int64_t> attempts;
  read_attempts_.Reset();
  read_attempts_.BindText(1, run.value());
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, read_attempts_.Step());
    if (!row) break;
    attempts[static_cast<AttemptNumber>(read_attempts_.Int(0))] = read_attempts_.Int(1);
  }
  read_attempts_.Reset();
  return attempts;
}

absl::Status SqliteSamples::ReadRows(const RunId& run, std::int64_t after_step, std::int64_t limit, std::vector<Row>* rows) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
  for (const StepRange& range : CurrentRanges(attempts)) {
    const std::int64_t wanted = limit - static_cast<std::int64_t>(rows->size());
    if (wanted <= 0) break;
    read_samples_.BindText(1, run.value());
    read_samples_.Bind(2, std::int64_t{range.attempt});
    read_samples_.Bind(3, std::max(range.after, after_step));
    read_samples_.Bind(4, range.through);
    read_samples_.Bind(5, wanted);
    for (;;) {
      absl::StatusOr<bool> row = read_samples_.Step();
      if (!row.ok()) read_samples_.Reset();
      ENTRAIN_RETURN_IF_ERROR(row.status());
      if (!*row) break;
      rows->push_back({range.attempt, read_samples_.Int(0), std::string(read_samples_.Blob(1))});
    }
    read_samples_.Reset();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<SqliteSamples::Row>> SqliteSamples::ReadLastRow(const RunId& run, std::int64_t through_step) {
  std::lock_guard<std::mutex> lock(reading_);
  ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
  const std::vector<StepRange> ranges = CurrentRanges(attempts);
  for (auto range = ranges.rbegin(); range != ranges.rend(); ++range) {
    read_last_sample_.Reset();
    read_last_sample_.BindText(1, run.value());
    read_last_sample_.Bind(2, std::int64_t{range->attempt});
    read_last_sample_.Bind(3, range->after);
    read_last_sample_.Bind(4, std::min(range->through, through_step));
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, read_last_sample_.Step());
    std::optional<Row> found;
    if (row) found = Row{range->attempt, read_last_sample_.Int(0), std::string(read_last_sample_.Blob(1))};
    read_last_sample_.Reset();
    if (found) return found;
  }
  return std::optional<Row>();
}

absl::StatusOr<StoredSample> SqliteSamples::Decode(const RunId& run, std::int64_t context, const Row& row) const {
  absl::StatusOr<domain::EntropySample> sample = DecodeSample(row.step, row.body, context);
  if (sample.ok()) return StoredSample{row.attempt, *std::move(sample)};
  return absl::DataLossError(
      StrCat("database ", reader_->path(), ": run ", run.value(), ": ", std::string(sample.status().message())));
}

absl::StatusOr<std::optional<StoredSample>> SqliteSamples::ReadLastSample(const RunId& run, std::int64_t context,
                                                                          std::int64_t through_step) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::optional<Row> row, ReadLastRow(run, through_step));
  if (!row) return std::optional<StoredSample>();
  ENTRAIN_ASSIGN_OR_RETURN(StoredSample stored, Decode(run, context, *row));
  return std::optional<StoredSample>(std::move(stored));
}

absl::StatusOr<std::vector<StoredSample>> SqliteSamples::ReadSamples(const RunId& run, std::int64_t context,
                                                                     std::int64_t after_step, std::int64_t limit) {
  std::vector<Row> rows;
  {
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_RETURN_IF_ERROR(ReadRows(run, after_step, limit, &rows));
  }
  std::vector<StoredSample> samples;
  samples.reserve(rows.size());
  for (const Row& row : rows) {
    ENTRAIN_ASSIGN_OR_RETURN(StoredSample stored, Decode(run, context, row));
    samples.push_back(std::move(stored));
  }
  return samples;
}

absl::StatusOr<std::vector<StoredEvaluation>> SqliteSamples::ReadEvaluations(const RunId& run) {
  std::lock_guard<std::mutex> lock(reading_);
  std::vector<StoredEvaluation> evaluations;
  ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
  for (const StepRange& range : CurrentRanges(attempts)) {
    read_evaluations_.Reset();
    read_evaluations_.BindText(1, run.value());
    read_evaluations_.Bind(2, std::int64_t{range.attempt});
    // An evaluation before the first step belongs to an attempt that starts at 0.
    read_evaluations_.Bind(3, range.after == 0 ? std::int64_t{-1} : range.after);
    read_evaluations_.Bind(4, range.through);
    for (;;) {
      ENTRAIN_ASSIGN_OR_RETURN(const bool row, read_evaluations_.Step());
      if (!row) break;
      const double loss = read_evaluations_.Int(4) != 0 ? std::numeric_limits<double>::quiet_NaN() : read_evaluations_.Double(1);
      evaluations.push_back(
          {range.attempt, {read_evaluations_.Int(0), loss, read_evaluations_.Int(2), read_evaluations_.Int(3)}});
    }
    read_evaluations_.Reset();
  }
  return evaluations;
}

absl::Status SqliteSamples::BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) {
  {
    // After a restart every unfinished run says it again: that must not cost a sync each.
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
    const auto known = attempts.find(attempt);
    if (known != attempts.end() && known->second == resume_step) return absl::OkStatus();
  }
  return group_.Run([&] {
    insert_attempt_.BindText(1, run.value());
    insert_attempt_.Bind(2, std::int64_t{attempt});
    insert_attempt_.Bind(3, resume_step);
    return insert_attempt_.Run();
  });
}

absl::Status SqliteSamples::InsertLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) {
  last_line_.BindText(1, run.value());
  ENTRAIN_RETURN_IF_ERROR(last_line_.Step().status());
  std::int64_t number = last_line_.Int(0);
  last_line_.Reset();
  for (const std::string& line : lines) {
    insert_line_.BindText(1, run.value());
    insert_line_.Bind(2, ++number);
    insert_line_.Bind(3, std::int64_t{attempt});
    insert_line_.BindBlob(4, line);
    ENTRAIN_RETURN_IF_ERROR(insert_line_.Run());
  }
  return absl::OkStatus();
}

absl::Status SqliteSamples::AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) {
  return group_.Run([&] { return InsertLog(run, attempt, lines); });
}

absl::StatusOr<std::vector<LogStore::Line>> SqliteSamples::ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                                                   std::int64_t limit) {
  std::lock_guard<std::mutex> lock(reading_);
  std::vector<Line> lines;
  read_log_.Reset();
  read_log_.BindText(1, run.value());
  read_log_.Bind(2, after);
  read_log_.Bind(3, std::int64_t{attempt});
  read_log_.Bind(4, limit);
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, read_log_.Step());
    if (!row) break;
    lines.push_back({static_cast<AttemptNumber>(read_log_.Int(0)), read_log_.Int(1), std::string(read_log_.Blob(2))});
  }
  read_log_.Reset();
  return lines;
}

}  // namespace entrain::store
