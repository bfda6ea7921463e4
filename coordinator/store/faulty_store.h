// A store whose disk fails on command: what a full or dying disk does to a coordinator. For tests and the simulator.
#pragma once

#include <cstdint>
#include <memory>

#include "coordinator/store/store.h"

namespace entrain::store {

enum class Fault {
  kRefused,  // nothing was written
  kUnknown,  // it was written, yet an error came back: what a sync that fails after the fact looks like
  kTorn,     // the first half of the facts was written (a store without transactions), and an error came back
};

struct FaultPlan {
  std::int64_t fail_commit = 0;  // the n-th Commit from 1; 0: none
  std::int64_t fail_append = 0;  // the n-th AppendSamples from 1; 0: none
  // The n-th WriteSnapshot from 1; 0: none. It replaces the one before as a whole, so that torn is as refused.
  std::int64_t fail_snapshot = 0;
  Fault fault = Fault::kRefused;
};

// `inner` must outlive it: what was written before the fault is read from there, as after a restart. One thread.
std::unique_ptr<Store> MakeFaultyStore(Store* inner, const FaultPlan& plan);

}  // namespace entrain::store
