// What retention deletes of samples and logs.
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/current_steps.h"
#include "coordinator/store/postgres_samples.h"

namespace entrain::store {

absl::Status PostgresSamples::Change(const std::string& sql, const std::function<void(PostgresValues*)>& bind) {
  Write write;
  write.change = sql;
  write.bind_change = bind;
  return group_.Run(write);
}

absl::StatusOr<std::int64_t> PostgresSamples::Delete(const std::string& table, const std::string& where,
                                                     const std::function<void(PostgresValues*)>& bind) {
  std::int64_t rows = 0;
  {
    // The numbers of values begin at 3 in both, so that they can be the same text.
    PostgresValues values;
    values.Int(0).Int(0);
    bind(&values);
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows count, Ask(StrCat("SELECT count(*)::bigint FROM ", table, " WHERE $1::bigint = $2::bigint AND ", where), values));
    rows = count.Int(0, 0);
  }
  if (rows == 0) return rows;
  ENTRAIN_RETURN_IF_ERROR(Change(StrCat("DELETE FROM ", table, " USING fence WHERE ", where), bind));
  return rows;
}

absl::StatusOr<std::int64_t> PostgresSamples::ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                                          std::int64_t wall_ms) {
  ENTRAIN_RETURN_IF_ERROR(Change("INSERT INTO thinned (run, every, wall_ms) SELECT $3::text, $4::bigint, $5::bigint FROM fence"
                                 " ON CONFLICT (run) DO UPDATE SET every = excluded.every, wall_ms = excluded.wall_ms",
                                 [&](PostgresValues* values) { values->Text(run.value()).Int(every).Int(wall_ms); }));
  std::map<AttemptNumber, std::int64_t> attempts;
  {
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_ASSIGN_OR_RETURN(attempts, ReadAttempts(run));
  }
  std::string current;
  for (const StepRange& range : CurrentRanges(attempts)) {
    StrAppend(&current, current.empty() ? "" : " OR ", "(attempt = ", range.attempt, " AND step > ", range.after, " AND step <= ", range.through, ")");
  }
  // Row locks only: writers of other runs do not wait, so that it need not go in portions.
  const std::string where = StrCat("samples.run = $3 AND (step % $4 != 0 AND step NOT IN (", StepList(steps), ")",
                                   current.empty() ? " OR true)" : StrCat(" OR NOT (", current, "))"));
  return Delete("samples", where, [&](PostgresValues* values) { values->Text(run.value()).Int(every); });
}

absl::StatusOr<Thinned> PostgresSamples::ThinnedBy(const RunId& run) {
  std::lock_guard<std::mutex> lock(reading_);
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, Ask("SELECT every, wall_ms FROM thinned WHERE run = $1", PostgresValues().Text(run.value())));
  return rows.size() == 0 ? Thinned{} : Thinned{rows.Int(0, 0), rows.Int(0, 1)};
}

absl::StatusOr<std::map<RunId, Usage>> PostgresSamples::ReadUsage() {
  std::lock_guard<std::mutex> lock(reading_);
  std::map<RunId, Usage> usage;
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows samples, Ask("SELECT run, count(*)::bigint, sum(octet_length(body))::bigint FROM samples GROUP BY run", PostgresValues()));
  for (int row = 0; row < samples.size(); ++row) {
    Usage& of = usage[RunId(samples.Text(row, 0))];
    of.samples = samples.Int(row, 1);
    of.sample_bytes = samples.Int(row, 2);
  }
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows lines, Ask("SELECT run, sum(octet_length(line))::bigint FROM log_lines GROUP BY run", PostgresValues()));
  for (int row = 0; row < lines.size(); ++row) usage[RunId(lines.Text(row, 0))].log_bytes = lines.Int(row, 1);
  return usage;
}

absl::StatusOr<std::int64_t> PostgresSamples::TrimLog(const RunId& run, std::int64_t keep_bytes) {
  const std::string where =
      "log_lines.run = $3 AND log_lines.number < (SELECT max(l.number) FROM log_lines AS l WHERE l.run = $3) AND log_lines.number <= (SELECT coalesce(max(n.number), 0) FROM"
      " (SELECT l.number, sum(octet_length(l.line)) OVER (ORDER BY l.number DESC) AS bytes FROM log_lines AS l WHERE l.run = $3) AS n WHERE n.bytes > $4)";
  return Delete("log_lines", where, [&](PostgresValues* values) { values->Text(run.value()).Int(keep_bytes); });
}

}  // namespace entrain::store
