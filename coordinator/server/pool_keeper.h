// Keeps the pools as large as the queue needs: asks each engine what there is, lets coordinator/pool/ plan, carries the plan out. It alone
// changes a pool's size. It remembers nothing that a restart may not forget: what a pool holds the engine knows, which workers are being
// emptied the journal knows.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "coordinator/pool/board.h"
#include "coordinator/pool/plan.h"
#include "coordinator/pool/provider.h"
#include "coordinator/samples/published_state.h"
#include "domain/event.h"
#include "metrics/coordinator_metrics.h"

namespace entrain::server {

class PoolKeeper {
 public:
  // `post` hands an event to the core; `metrics` may be null. All outlive the keeper.
  PoolKeeper(std::vector<std::unique_ptr<pool::PoolProvider>> pools, const samples::PublishedState* published,
             std::function<void(domain::ActOnWorker)> post, const Clock* clock, pool::PoolBoard* board, metrics::CoordinatorMetrics* metrics);
  // After the call to an engine that is under way. The published state must be closed before.
  ~PoolKeeper();
  PoolKeeper(const PoolKeeper&) = delete;
  PoolKeeper& operator=(const PoolKeeper&) = delete;

  // A thread that makes a round whenever it is time.
  void Start();
  // One look at every pool; the thread's step. One thread at a time.
  void Round();

 private:
  // What a machine was when it was looked at last.
  struct Known {
    enum class Phase { kNoWorker, kAway, kBusy, kIdle } phase = Phase::kNoWorker;
    std::int64_t since_ms = 0;
    bool registered = false;  // ever
    bool released = false;    // by us
  };
  enum class Source { kNone, kList, kGrow, kMachine };
  struct Pool {
    std::unique_ptr<pool::PoolProvider> provider;
    pool::PoolStatus status;
    pool::Asking asking;
    std::map<std::string, Known> known;  // by machine id
    Source problem_source = Source::kNone;
  };

  void Look(Pool* pool, std::vector<pool::Waiting>* waiting);
  std::vector<pool::Seen> See(Pool* pool, const core::State& state);
  // Machines that the list no longer has and whose workers never came are failures.
  void NoteEnded(Pool* pool, const std::vector<pool::PoolMachine>& machines);
  // Workers whose machines are gone leave the list.
  void TakeOff(const Pool& pool, const core::State& state);
  void CarryOut(Pool* pool, const std::vector<pool::Seen>& seen, const pool::PoolPlan& plan);
  void Act(const Pool& pool, const pool::Seen& seen, domain::WorkerAction action);
  void Fail(Pool* pool, Source source, const std::string& problem, bool backs_off);
  void Recover(Pool* pool, Source source);
  void Publish();

  const samples::PublishedState* const published_;
  const std::function<void(domain::ActOnWorker)> post_;
  const Clock* const clock_;
  pool::PoolBoard* const board_;
  metrics::CoordinatorMetrics* const metrics_;
  std::vector<Pool> pools_;
  std::int64_t poll_ms_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace entrain::server
