#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/files.h"
#include "base/strings.h"
#include "worker/launcher/launcher.h"

namespace entrain::launcher {
namespace {

using attempt::TerminalRecord;
using domain::EndCause;

constexpr std::size_t kLogTailLines = 12;
constexpr std::size_t kLogTailBytes = 4096;
constexpr std::size_t kEventsPerRead = 1024;

// What a rank says about itself outweighs what the others saw happen to it.
bool IsSpecific(EndCause cause) {
  return cause != EndCause::kCompleted && cause != EndCause::kStopped && cause != EndCause::kCrashed;
}

// The last lines of the log, so that a message says why without the folder at hand.
std::string LogTail(const std::string& folder) {
  const absl::StatusOr<std::string> log = ReadFile(folder + "/log.txt");
  if (!log.ok() || log->empty()) return "(the log is empty)";
  std::size_t begin = log->size() > kLogTailBytes ? log->size() - kLogTailBytes : 0;
  std::size_t lines = 0;
  for (std::size_t at = log->size() - 1; at > begin; --at) {
    if ((*log)[at - 1] == '\n' && ++lines == kLogTailLines) begin = at;
  }
  std::string tail = log->substr(begin);
  while (!tail.empty() && tail.back() == '\n') tail.pop_back();
  return tail;
}

struct RankRecords {
  std::vector<std::optional<TerminalRecord>> by_rank;  // from `first_rank` on
  std::int64_t first_rank = 0;
  // Without the records of the ranks behind these the gang's end is still known: ranks end alike, after a barrier. Those of other
  // machines are missing when the machine was lost between that and the end.
  std::size_t needed = 0;
  bool Any() const {
    return std::any_of(by_rank.begin(), by_rank.end(), [](const auto& record) { return record.has_value(); });
  }
  bool AllAre(std::initializer_list<EndCause> causes) const {
    for (std::size_t i = 0; i < by_rank.size(); ++i) {
      const bool known = by_rank[i] && std::find(causes.begin(), causes.end(), by_rank[i]->cause) != causes.end();
      if (!known && (by_rank[i] || i < needed)) return false;
    }
    return !by_rank.empty();
  }
};

// On the head's machine of the whole gang (the others' come to it when it ends them), on the others of their own ranks.
RankRecords ReadRecords(const attempt::AttemptFolder& folder, const attempt::AttemptSpec& spec) {
  RankRecords records;
  records.first_rank = spec.first_rank;
  records.needed = static_cast<std::size_t>(LocalRanks(spec));
  const std::int64_t end = IsMember(spec) ? spec.first_rank + LocalRanks(spec) : spec.world_size;
  for (std::int64_t rank = spec.first_rank; rank < end; ++rank) {
    const absl::StatusOr<std::optional<TerminalRecord>> record = folder.ReadTerminalRecord(rank);
    records.by_rank.push_back(record.ok() ? *record : std::nullopt);
  }
  return records;
}

// Where the first record lies that satisfies `accepts`, or -1.
template <typename Accepts>
std::int64_t FirstRank(const RankRecords& records, Accepts accepts) {
  for (std::size_t rank = 0; rank < records.by_rank.size(); ++rank) {
    if (records.by_rank[rank] && accepts(*records.by_rank[rank])) return static_cast<std::int64_t>(rank);
  }
  return -1;
}

std::string RankMessage(const RankRecords& records, std::int64_t place) {
  const std::string& message = records.by_rank[static_cast<std::size_t>(place)]->message;
  return records.by_rank.size() == 1 ? message : StrCat("rank ", records.first_rank + place, ": ", message);
}

std::string ExitText(const SupervisorExit& exit) {
  if (exit.reason == ExitReason::kNotStarted) return StrCat("could not be executed: ", std::strerror(exit.exit_status));
  if (exit.signal != 0) return StrCat("was ended by signal ", exit.signal, " (", ::strsignal(exit.signal), ")");
  return StrCat("ended with status ", exit.exit_status);
}

// No rank explains the end: what is left is the launcher's exit and the log.
void ExplainWithoutRecord(const std::string& folder, const RankRecords& records, const Progress& progress,
                          const absl::StatusOr<SupervisorExit>& exit, domain::AttemptEnd* end) {
  end->cause = EndCause::kCrashed;
  std::string what = "the supervisor was killed, and the gang with it";
  if (exit.ok()) {
    what = StrCat("the gang's first process ", ExitText(*exit));
    if (exit->reason == ExitReason::kAskedToEnd) what = "the gang was ended by its worker";
    const bool never_ran = !records.Any() && !progress.ready;
    const bool failed_to_start = exit->reason == ExitReason::kNotStarted || exit->reason == ExitReason::kExited;
    if (never_ran && failed_to_start) end->cause = EndCause::kLaunch;
  }
  const std::int64_t silent = std::count(records.by_rank.begin(), records.by_rank.end(), std::nullopt);
  end->message = StrCat(what, "; ", silent, " of ", records.by_rank.size(), " ranks left no record. The log ends:\n", LogTail(folder));
}

void Explain(const std::string& folder, const RankRecords& records, const Progress& progress,
             const absl::StatusOr<SupervisorExit>& exit, domain::AttemptEnd* end) {
  const std::int64_t specific = FirstRank(records, [](const TerminalRecord& r) { return IsSpecific(r.cause); });
  const std::int64_t crashed = FirstRank(records, [](const TerminalRecord& r) { return r.cause == EndCause::kCrashed; });
  if (specific >= 0) {
    end->cause = records.by_rank[static_cast<std::size_t>(specific)]->cause;
    end->message = RankMessage(records, specific);
  } else if (records.AllAre({EndCause::kCompleted})) {
    end->cause = EndCause::kCompleted;
  } else if (exit.ok() && exit->reason == ExitReason::kDaemonAbsent) {
    end->cause = EndCause::kMachineLost;
    end->message = "no worker daemon ran on this machine for too long; the supervisor ended the gang";
  } else if (exit.ok() && exit->reason == ExitReason::kLinkLost) {
    end->cause = EndCause::kMachineLost;
    end->message = exit->detail;
  } else if (exit.ok() && exit->reason == ExitReason::kRankFrozen) {
    end->cause = EndCause::kCrashed;
    end->message = StrCat(exit->detail, "; its process was stopped or had no processor, and the gang was ended");
  } else if (records.AllAre({EndCause::kCompleted, EndCause::kStopped})) {
    end->cause = EndCause::kStopped;
    end->message = RankMessage(records, FirstRank(records, [](const TerminalRecord& r) { return r.cause == EndCause::kStopped; }));
  } else if (crashed >= 0) {
    end->cause = EndCause::kCrashed;
    end->message = RankMessage(records, crashed);
  } else {
    ExplainWithoutRecord(folder, records, progress, exit, end);
  }
}

}  // namespace

Progress ReadProgress(const std::string& folder) {
  Progress progress;
  attempt::EventReader reader{attempt::AttemptFolder(folder)};
  for (;;) {
    const absl::StatusOr<std::vector<attempt::EventReader::Entry>> entries = reader.Read(kEventsPerRead);
    if (!entries.ok() || entries->empty()) return progress;
    for (const attempt::EventReader::Entry& entry : *entries) {
      if (const auto* ready = std::get_if<attempt::GangReady>(&entry.event)) {
        progress.ready = true;
        progress.last_step = std::max(progress.last_step, ready->resume_step);
      } else if (const auto* sample = std::get_if<domain::EntropySample>(&entry.event)) {
        progress.last_step = std::max(progress.last_step, sample->step);
      }
    }
  }
}

domain::AttemptEnd CollectEnd(const std::string& folder, const Progress& progress) {
  const attempt::AttemptFolder files(folder);
  domain::AttemptEnd end;
  // The coordinator waits for the samples up to last_step, so it is never one that rank 0 did not write.
  end.last_step = progress.last_step;
  const absl::StatusOr<attempt::AttemptSpec> spec = files.ReadSpec();
  if (!spec.ok()) {
    end.cause = EndCause::kStorage;
    end.message = std::string(spec.status().message());
    return end;
  }
  const absl::StatusOr<SupervisorExit> exit = ReadSupervisorExit(files);
  end.exit_code = exit.ok() ? exit->exit_status : 128 + SIGKILL;
  const RankRecords records = ReadRecords(files, *spec);
  Explain(folder, records, progress, exit, &end);
  if (const auto& first = records.by_rank.empty() ? std::nullopt : records.by_rank.front()) {
    end.loss = first->loss;
    end.tokens = first->tokens;
    end.last_step = std::max(end.last_step, first->step);
  }
  return end;
}

}  // namespace entrain::launcher
