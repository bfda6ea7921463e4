#include "coordinator/store/postgres_samples.h"

#include <algorithm>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/sample_codec.h"

namespace entrain::store {
namespace {

// Runs whose last line's number is remembered.
constexpr std::size_t kMaxKnownLogs = 10'000;

const std::string& WriteSql() {
  static const std::string sql = StrCat(
      "WITH fence AS (", PostgresLane::FenceSql("samples"), "),"
      " new_samples AS (INSERT INTO samples (run, attempt, step, body)"
      "  SELECT s.* FROM fence, unnest($3::text[], $4::bigint[], $5::bigint[], $6::bytea[]) AS s ON CONFLICT DO NOTHING),"
      " new_evaluations AS (INSERT INTO evaluations (run, attempt, step, loss, tokens, wall_ms)"
      "  SELECT e.* FROM fence, unnest($7::text[], $8::bigint[], $9::bigint[], $10::float8[], $11::bigint[], $12::bigint[]) AS e"
      "  ON CONFLICT DO NOTHING),"
      " new_attempts AS (INSERT INTO attempts (run, attempt, resume_step)"
      "  SELECT a.* FROM fence, unnest($13::text[], $14::bigint[], $15::bigint[]) AS a"
      "  ON CONFLICT (run, attempt) DO UPDATE SET resume_step = excluded.resume_step),"
      " new_lines AS (INSERT INTO log_lines (run, number, attempt, line)"
      "  SELECT l.* FROM fence, unnest($16::text[], $17::bigint[], $18::bigint[], $19::bytea[]) AS l ON CONFLICT DO NOTHING)"
      " SELECT count(*) FROM fence");
  return sql;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PostgresSamples>> PostgresSamples::Open(PostgresLease* lease) {
  std::unique_ptr<PostgresSamples> samples(new PostgresSamples(lease));
  ENTRAIN_RETURN_IF_ERROR(samples->lane_.Fence());
  return samples;
}

absl::Status PostgresSamples::LearnLastLines(const std::vector<const Write*>& writes) {
  if (last_lines_.size() > kMaxKnownLogs) last_lines_.clear();
  for (const Write* write : writes) {
    if (write->lines == nullptr || last_lines_.contains(write->run)) continue;
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows last, Ask("SELECT coalesce(max(number), 0)::bigint FROM log_lines WHERE run = $1",
                                                          PostgresValues().Text(write->run.value())));
    last_lines_[write->run] = last.Int(0, 0);
  }
  return absl::OkStatus();
}

void PostgresSamples::BindSamples(const std::vector<const Write*>& writes, PostgresValues* values) {
  std::vector<std::string_view> runs, bodies;
  std::vector<std::int64_t> attempts, steps;
  for (const Write* write : writes) {
    for (const Write::Sample& sample : write->samples) {
      runs.push_back(write->run.value());
      attempts.push_back(sample.attempt);
      steps.push_back(sample.step);
      bodies.push_back(sample.body);
    }
  }
  values->Texts(runs).Ints(attempts).Ints(steps).Blobs(bodies);
}

void PostgresSamples::BindEvaluations(const std::vector<const Write*>& writes, PostgresValues* values) {
  std::vector<std::string_view> runs;
  std::vector<std::int64_t> attempts, steps, tokens, wall_ms;
  std::vector<double> losses;
  for (const Write* write : writes) {
    if (write->evaluations == nullptr) continue;
    for (const StoredEvaluation& stored : *write->evaluations) {
      runs.push_back(write->run.value());
      attempts.push_back(stored.attempt);
      steps.push_back(stored.evaluation.step);
      losses.push_back(stored.evaluation.loss);
      tokens.push_back(stored.evaluation.tokens);
      wall_ms.push_back(stored.evaluation.wall_ms);
    }
  }
  values->Texts(runs).Ints(attempts).Ints(steps).Doubles(losses).Ints(tokens).Ints(wall_ms);
}

void PostgresSamples::BindAttempts(const std::vector<const Write*>& writes, PostgresValues* values) {
  // One row each: a statement must not update a row twice.
  std::map<std::pair<std::string_view, AttemptNumber>, std::int64_t> begins;
  for (const Write* write : writes) {
    if (write->begins) begins[{write->run.value(), write->begins->first}] = write->begins->second;
  }
  std::vector<std::string_view> runs;
  std::vector<std::int64_t> attempts, resume_steps;
  for (const auto& [key, resume_step] : begins) {
    runs.push_back(key.first);
    attempts.push_back(key.second);
    resume_steps.push_back(resume_step);
  }
  values->Texts(runs).Ints(attempts).Ints(resume_steps);
}

void PostgresSamples::BindLines(const std::vector<const Write*>& writes, PostgresValues* values) {
  std::vector<std::string_view> runs, lines;
  std::vector<std::int64_t> numbers, attempts;
  // From the same numbers at every try; WriteAll moves them on.
  std::unordered_map<RunId, std::int64_t> added;
  for (const Write* write : writes) {
    if (write->lines == nullptr) continue;
    for (const std::string& line : *write->lines) {
      runs.push_back(write->run.value());
      numbers.push_back(last_lines_[write->run] + ++added[write->run]);
      attempts.push_back(write->log_attempt);
      lines.push_back(line);
    }
  }
  values->Texts(runs).Ints(numbers).Ints(attempts).Blobs(lines);
}

absl::Status PostgresSamples::WriteAll(const std::vector<const Write*>& writes) {
  ENTRAIN_RETURN_IF_ERROR(LearnLastLines(writes));
  const auto bind = [&](PostgresValues* values) {
    BindSamples(writes, values);
    BindEvaluations(writes, values);
    BindAttempts(writes, values);
    BindLines(writes, values);
  };
  // Sent again, it changes nothing that is there.
  ENTRAIN_RETURN_IF_ERROR(lane_.Write(WriteSql(), bind, [] { return absl::StatusOr<bool>(false); }));
  for (const Write* write : writes) {
    if (write->change.empty()) continue;
    const std::string sql = StrCat("WITH fence AS (", PostgresLane::FenceSql("samples"), "), change AS (", write->change, ") SELECT count(*) FROM fence");
    ENTRAIN_RETURN_IF_ERROR(lane_.Write(sql, write->bind_change, [] { return absl::StatusOr<bool>(false); }));
  }
  for (const Write* write : writes) {
    if (write->lines != nullptr) last_lines_[write->run] += static_cast<std::int64_t>(write->lines->size());
  }
  return absl::OkStatus();
}

absl::Status PostgresSamples::AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                                            const std::vector<StoredEvaluation>& evaluations) {
  Write write;
  write.run = run;
  for (const StoredSample& stored : samples) {
    write.samples.push_back({stored.attempt, stored.sample.step, EncodeSample(stored.sample, context)});
  }
  write.evaluations = &evaluations;
  return group_.Run(write);
}

absl::Status PostgresSamples::AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) {
  Write write;
  write.run = run;
  write.log_attempt = attempt;
  write.lines = &lines;
  return group_.Run(write);
}

absl::Status PostgresSamples::BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) {
  {
    // After a restart every unfinished run says it again: that must not cost a commit each.
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
    const auto known = attempts.find(attempt);
    if (known != attempts.end() && known->second == resume_step) return absl::OkStatus();
  }
  Write write;
  write.run = run;
  write.begins = {attempt, resume_step};
  return group_.Run(write);
}

absl::StatusOr<std::map<AttemptNumber, std::int64_t>> PostgresSamples::ReadAttempts(const RunId& run) {
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, Ask("SELECT attempt, resume_step FROM attempts WHERE run = $1",
                                                        PostgresValues().Text(run.value())));
  std::map<AttemptNumber, std::int64_t> attempts;
  for (int row = 0; row < rows.size(); ++row) attempts[static_cast<AttemptNumber>(rows.Int(row, 0))] = rows.Int(row, 1);
  return attempts;
}

absl::StatusOr<StoredSample> PostgresSamples::Decode(const RunId& run, std::int64_t context, AttemptNumber attempt, std::int64_t step,
                                                     std::string_view body) const {
  absl::StatusOr<domain::EntropySample> sample = DecodeSample(step, body, context);
  if (sample.ok()) return StoredSample{attempt, *std::move(sample)};
  return absl::DataLossError(StrCat("database ", reader_.name(), ": run ", run.value(), ": ", std::string(sample.status().message())));
}

absl::StatusOr<std::vector<StoredSample>> PostgresSamples::ReadSamples(const RunId& run, std::int64_t context, std::int64_t after_step,
                                                                       std::int64_t limit) {
  std::lock_guard<std::mutex> lock(reading_);
  ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
  std::vector<StoredSample> samples;
  for (const StepRange& range : CurrentRanges(attempts)) {
    const std::int64_t wanted = limit - static_cast<std::int64_t>(samples.size());
    if (wanted <= 0) break;
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, Ask("SELECT step, body FROM samples WHERE run = $1 AND attempt = $2 AND step > $3 AND step <= $4"
                                                          " ORDER BY step LIMIT $5",
                                                          PostgresValues().Text(run.value()).Int(range.attempt).Int(std::max(range.after, after_step))
                                                              .Int(range.through).Int(wanted)));
    for (int row = 0; row < rows.size(); ++row) {
      ENTRAIN_ASSIGN_OR_RETURN(StoredSample stored, Decode(run, context, range.attempt, rows.Int(row, 0), rows.Blob(row, 1)));
      samples.push_back(std::move(stored));
    }
  }
  return samples;
}

absl::StatusOr<std::optional<StoredSample>> PostgresSamples::ReadLastSample(const RunId& run, std::int64_t context,
                                                                            std::int64_t through_step) {
  std::lock_guard<std::mutex> lock(reading_);
  ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
  const std::vector<StepRange> ranges = CurrentRanges(attempts);
  for (auto range = ranges.rbegin(); range != ranges.rend(); ++range) {
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, Ask("SELECT step, body FROM samples WHERE run = $1 AND attempt = $2 AND step > $3 AND step <= $4"
                                                          " ORDER BY step DESC LIMIT 1",
                                                          PostgresValues().Text(run.value()).Int(range->attempt).Int(range->after)
                                                              .Int(std::min(range->through, through_step))));
    if (rows.size() == 0) continue;
    ENTRAIN_ASSIGN_OR_RETURN(StoredSample stored, Decode(run, context, range->attempt, rows.Int(0, 0), rows.Blob(0, 1)));
    return std::optional<StoredSample>(std::move(stored));
  }
  return std::optional<StoredSample>();
}

absl::StatusOr<std::vector<StoredEvaluation>> PostgresSamples::ReadEvaluations(const RunId& run) {
  std::lock_guard<std::mutex> lock(reading_);
  ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, ReadAttempts(run));
  std::vector<StoredEvaluation> evaluations;
  for (const StepRange& range : CurrentRanges(attempts)) {
    // An evaluation before the first step belongs to an attempt that starts at 0.
    const std::int64_t after = range.after == 0 ? -1 : range.after;
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, Ask("SELECT step, loss, tokens, wall_ms FROM evaluations"
                                                          " WHERE run = $1 AND attempt = $2 AND step > $3 AND step <= $4 ORDER BY step",
                                                          PostgresValues().Text(run.value()).Int(range.attempt).Int(after).Int(range.through)));
    for (int row = 0; row < rows.size(); ++row) {
      evaluations.push_back({range.attempt, {rows.Int(row, 0), rows.Double(row, 1), rows.Int(row, 2), rows.Int(row, 3)}});
    }
  }
  return evaluations;
}

absl::StatusOr<std::vector<LogStore::Line>> PostgresSamples::ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                                                     std::int64_t limit) {
  std::lock_guard<std::mutex> lock(reading_);
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, Ask("SELECT attempt, number, line FROM log_lines"
                                                        " WHERE run = $1 AND number > $2 AND ($3 = 0 OR attempt = $3) ORDER BY number LIMIT $4",
                                                        PostgresValues().Text(run.value()).Int(after).Int(attempt).Int(limit)));
  std::vector<Line> lines;
  for (int row = 0; row < rows.size(); ++row) {
    lines.push_back({static_cast<AttemptNumber>(rows.Int(row, 0)), rows.Int(row, 1), rows.Text(row, 2)});
  }
  return lines;
}

}  // namespace entrain::store
