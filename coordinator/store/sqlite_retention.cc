// What retention deletes of samples and logs.
#include <algorithm>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/current_steps.h"
#include "coordinator/store/sqlite_samples.h"

namespace entrain::store {
namespace {

// Steps of one transaction: other writers wait for no more than that.
constexpr std::int64_t kStepsPerPortion = 5'000;

}  // namespace

absl::StatusOr<std::int64_t> SqliteSamples::Change(const std::string& sql, const std::function<void(Statement*)>& bind) {
  std::int64_t changed = 0;
  const absl::Status status = group_.Run([&]() -> absl::Status {
    ENTRAIN_ASSIGN_OR_RETURN(Statement statement, writer_->Prepare(sql));
    bind(&statement);
    ENTRAIN_RETURN_IF_ERROR(statement.Run());
    changed = writer_->Changes();
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return changed;
}

absl::StatusOr<std::int64_t> SqliteSamples::ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                                        std::int64_t wall_ms) {
  ENTRAIN_RETURN_IF_ERROR(Change("INSERT OR REPLACE INTO thinned VALUES (?, ?, ?)", [&](Statement* mark) {
                            mark->BindText(1, run.value());
                            mark->Bind(2, every);
                            mark->Bind(3, wall_ms);
                          }).status());
  std::map<AttemptNumber, std::int64_t> attempts;
  {
    std::lock_guard<std::mutex> lock(reading_);
    ENTRAIN_ASSIGN_OR_RETURN(attempts, ReadAttempts(run));
  }
  const std::string thin = StrCat("DELETE FROM samples WHERE run = ? AND attempt = ? AND step > ? AND step <= ? AND step % ? != 0 AND step NOT IN (", StepList(steps), ")");
  std::int64_t gone = 0;
  std::string current;
  for (const StepRange& range : CurrentRanges(attempts)) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t last, LastStepOf(run, range));
    for (std::int64_t after = range.after; after < last; after += kStepsPerPortion) {
      ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t some, Change(thin, [&](Statement* statement) {
                                 statement->BindText(1, run.value());
                                 statement->Bind(2, std::int64_t{range.attempt});
                                 statement->Bind(3, after);
                                 statement->Bind(4, std::min(after + kStepsPerPortion, last));
                                 statement->Bind(5, every);
                               }));
      gone += some;
    }
    StrAppend(&current, " AND NOT (attempt = ", range.attempt, " AND step > ", range.after, " AND step <= ", range.through, ")");
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t replaced, Change(StrCat("DELETE FROM samples WHERE run = ?", current),
                                                               [&](Statement* statement) { statement->BindText(1, run.value()); }));
  return gone + replaced;
}

absl::StatusOr<std::int64_t> SqliteSamples::LastStepOf(const RunId& run, const StepRange& range) {
  std::lock_guard<std::mutex> lock(reading_);
  read_last_sample_.Reset();
  read_last_sample_.BindText(1, run.value());
  read_last_sample_.Bind(2, std::int64_t{range.attempt});
  read_last_sample_.Bind(3, range.after);
  read_last_sample_.Bind(4, range.through);
  ENTRAIN_ASSIGN_OR_RETURN(const bool row, read_last_sample_.Step());
  const std::int64_t step = row ? read_last_sample_.Int(0) : range.after;
  read_last_sample_.Reset();
  return step;
}

absl::StatusOr<Thinned> SqliteSamples::ThinnedBy(const RunId& run) {
  std::lock_guard<std::mutex> lock(reading_);
  read_thinned_.Reset();
  read_thinned_.BindText(1, run.value());
  ENTRAIN_ASSIGN_OR_RETURN(const bool row, read_thinned_.Step());
  const Thinned thinned = row ? Thinned{read_thinned_.Int(0), read_thinned_.Int(1)} : Thinned{};
  read_thinned_.Reset();
  return thinned;
}

absl::StatusOr<std::map<RunId, Usage>> SqliteSamples::ReadUsage() {
  // A connection of its own: it reads everything and must not keep the others' readers waiting.
  ENTRAIN_ASSIGN_OR_RETURN(const auto database, Database::Open(reader_->path(), {.read_only = true, .exclusive = false}));
  std::map<RunId, Usage> usage;
  ENTRAIN_ASSIGN_OR_RETURN(Statement samples, database->Prepare("SELECT run, count(*), sum(length(body)) FROM samples GROUP BY run"));
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, samples.Step());
    if (!row) break;
    Usage& of = usage[RunId(samples.Text(0))];
    of.samples = samples.Int(1);
    of.sample_bytes = samples.Int(2);
  }
  ENTRAIN_ASSIGN_OR_RETURN(Statement lines, database->Prepare("SELECT run, sum(length(line)) FROM log_lines GROUP BY run"));
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool row, lines.Step());
    if (!row) break;
    usage[RunId(lines.Text(0))].log_bytes = lines.Int(1);
  }
  return usage;
}

absl::StatusOr<std::int64_t> SqliteSamples::TrimLog(const RunId& run, std::int64_t keep_bytes) {
  // The number of the first line that stays: from there on to the last one they are within the bound.
  const char* const sql =
      "DELETE FROM log_lines WHERE run = ?1 AND number < (SELECT max(number) FROM log_lines WHERE run = ?1) AND number <= (SELECT coalesce(max(number), 0) FROM"
      " (SELECT number, sum(length(line)) OVER (ORDER BY number DESC) AS bytes FROM log_lines WHERE run = ?1) WHERE bytes > ?2)";
  return Change(sql, [&](Statement* statement) {
    statement->BindText(1, run.value());
    statement->Bind(2, keep_bytes);
  });
}

absl::Status SqliteSamples::CopySamples(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto database, Database::Open(reader_->path(), {.read_only = true, .exclusive = false}));
  ENTRAIN_ASSIGN_OR_RETURN(const auto copy, DatabaseCopy::Begin(database.get(), path));
  // In one step, which is one read transaction: writers go on, and the copy is of one moment.
  const absl::StatusOr<bool> done = copy->Step(-1);
  if (done.ok() && !*done) return absl::InternalError(StrCat("database ", reader_->path(), ": the copy ended early"));
  return done.status();
}

}  // namespace entrain::store
