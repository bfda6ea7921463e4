// What the pools are like now: the keeper publishes, people's questions are answered from it.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/pool/provider.h"
#include "coordinator/scheduler/index.h"

namespace entrain::pool {

struct PoolStatus {
  PoolLimits limits;
  std::string engine;
  bool listed = false;                // the engine has answered since the coordinator started
  std::vector<PoolMachine> machines;  // as listed last
  std::string doing;                  // the plan's sentence
  std::string problem;                // the newest, until it is over; empty: none
};

std::int64_t CountIn(const PoolStatus& status, PoolMachine::State state);
// Of its pending machines, in the engine's words; each once, in order.
std::vector<std::string> PendingReasons(const PoolStatus& status);
// What the scheduler may count on.
scheduler::Elastic ElasticOf(const PoolLimits& limits);
// "the pool hpc may still add 2 machines of 8 slots; 1 is pending (Resources); asks again ... ; slurm says: ...".
std::string Sentence(const PoolStatus& status);

// Thread-safe.
class PoolBoard {
 public:
  void Publish(std::vector<PoolStatus> pools) {
    const std::lock_guard lock(mutex_);
    pools_ = std::move(pools);
  }
  std::vector<PoolStatus> Get() const {
    const std::lock_guard lock(mutex_);
    return pools_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<PoolStatus> pools_;
};

}  // namespace entrain::pool
