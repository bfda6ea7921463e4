// What the coordinator remembers. One writer. Implementations: SQLite, in memory, and a faulty twin for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "domain/event.h"
#include "domain/fact.h"
#include "domain/sample.h"

namespace entrain::store {

// A sample as stored: entropies as 16-bit E/U.
struct StoredSample {
  AttemptNumber attempt = 0;
  domain::EntropySample sample;  // entropy_nats already rounded to what the 16 bits give
};
struct StoredEvaluation {
  AttemptNumber attempt = 0;
  domain::Evaluation evaluation;
};

// What retention made of a run's samples.
struct Thinned {
  std::int64_t every = 0;  // steps of which one was kept; 0: all are there
  std::int64_t wall_ms = 0;
};
// What a run has stored.
struct Usage {
  std::int64_t samples = 0;
  std::int64_t sample_bytes = 0;
  std::int64_t log_bytes = 0;
};

class Journal {
 public:
  virtual ~Journal() = default;
  // Appends the facts of one batch, and the events they were decided from, in one durable transaction. Transient facts are left out.
  // On error the process must end: it never runs on uncommitted state.
  virtual absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) = 0;
  // Every fact since the beginning or the snapshot, in order; each is the callee's to keep.
  virtual absl::Status Replay(const std::function<void(domain::Fact)>& apply) = 0;
  // From here on Replay gives `facts` in place of everything committed so far. The journal itself keeps every fact.
  virtual absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) = 0;
  // Facts committed since the newest snapshot, or since the beginning.
  virtual std::int64_t FactsSinceSnapshot() = 0;
  // Every event that led to a fact, in order, each with how many facts were committed before its batch: what a re-decision needs.
  virtual absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t facts_before)>& visit) = 0;
  // Coordinator time of the last committed event; 0 for a new store.
  virtual absl::StatusOr<std::int64_t> LastEventMs() = 0;

  // A copy of the journal, complete as of the Step that says true; what is committed between two Steps is in it. UNIMPLEMENTED for a store
  // that brings tools of its own.
  class Copy {
   public:
    virtual ~Copy() = default;
    virtual absl::StatusOr<bool> Step() = 0;
  };
  virtual absl::StatusOr<std::unique_ptr<Copy>> BeginCopy(const std::string& /*path*/) {
    return absl::UnimplementedError("this store is backed up with its own tools");
  }
};

// Thread-safe; appends that wait for each other share one transaction.
class SampleStore {
 public:
  virtual ~SampleStore() = default;
  // Appends in one durable transaction. A sample that is there already (same run, attempt, step) is left alone.
  virtual absl::Status AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                                     const std::vector<StoredEvaluation>& evaluations) = 0;
  // The run's current samples in step order, after `after_step`: where an attempt resumed from step s, later samples of earlier
  // attempts are left out. Samples of an attempt that has not begun are stored and not current.
  virtual absl::StatusOr<std::vector<StoredSample>> ReadSamples(const RunId& run, std::int64_t context, std::int64_t after_step,
                                                                std::int64_t limit) = 0;
  // The last current sample with a step of at most `through_step`.
  virtual absl::StatusOr<std::optional<StoredSample>> ReadLastSample(const RunId& run, std::int64_t context,
                                                                     std::int64_t through_step) = 0;
  // The current evaluations in step order, by the same rule.
  virtual absl::StatusOr<std::vector<StoredEvaluation>> ReadEvaluations(const RunId& run) = 0;
  // The attempt starts after `resume_step`. Saying it again is harmless.
  virtual absl::Status BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) = 0;

  // For runs that are over. Of the current samples those of every `every`-th step stay, and those of `steps`; the rest goes, and all of
  // replaced attempts. The run is marked first and the samples go in portions, so that it is known as thinned after a kill on the way;
  // saying it again finishes. Evaluations stay. Returns how many went.
  virtual absl::StatusOr<std::int64_t> ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                                   std::int64_t wall_ms) = 0;
  virtual absl::StatusOr<Thinned> ThinnedBy(const RunId& run) = 0;
  // A copy of samples and logs as of one moment; writers do not wait. UNIMPLEMENTED as BeginCopy.
  virtual absl::Status CopySamples(const std::string& /*path*/) { return absl::UnimplementedError("this store is backed up with its own tools"); }
  // Of every run that has any; reads the whole store.
  virtual absl::StatusOr<std::map<RunId, Usage>> ReadUsage() = 0;
};

// Thread-safe.
class LogStore {
 public:
  virtual ~LogStore() = default;
  virtual absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) = 0;
  // Lines with a number above `after`, in order; numbers count from 1 over all attempts of the run. Attempt 0: of all attempts.
  struct Line {
    AttemptNumber attempt = 0;
    std::int64_t number = 0;
    std::string text;
  };
  virtual absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                                    std::int64_t limit) = 0;
  // Drops the oldest lines until at most `keep_bytes` are left; the last line stays, so that numbers go on. Returns how many went.
  virtual absl::StatusOr<std::int64_t> TrimLog(const RunId& run, std::int64_t keep_bytes) = 0;
};

// The journal belongs to one thread; samples and logs to any.
class Store : public Journal, public SampleStore, public LogStore {};

// The entropies as reading them back gives them: through the 16 bits of E/U.
std::vector<float> AsStored(const std::vector<float>& entropy_nats, std::int64_t context);

// The event's kind as in the journal, for metrics: "submit_sweep", "worker_heartbeat", ...
std::string_view KindOf(const domain::Event& event);

// Opens or creates the database (WAL, synchronous=FULL) and, beside it, the one for samples and logs ("x.db" and "x.samples.db"), so that
// the two lanes never wait for each other's disk writes. DATA_LOSS with the path when one is damaged, FAILED_PRECONDITION when its
// schema is newer than this build knows or it is not ours, UNAVAILABLE when another process has it open.
absl::StatusOr<std::unique_ptr<Store>> OpenSqliteStore(const std::string& path);
std::unique_ptr<Store> MakeMemoryStore();

}  // namespace entrain::store
