// Demand and machines -> what to ask the engine for. Pure: the keeper in coordinator/server/ reads the state, asks the engine what there is,
// and carries the plan out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "coordinator/pool/provider.h"
#include "coordinator/scheduler/index.h"

namespace entrain::pool {

// A run that waits although the fleet was just planned: whatever is free now does not hold it.
struct Waiting {
  RunId run;
  scheduler::Shape shape;
  friend bool operator==(const Waiting&, const Waiting&) = default;
};

// A machine of the pool, with what the coordinator knows of its worker.
struct Seen {
  PoolMachine machine;
  WorkerId worker;              // empty: not registered (yet)
  std::int64_t slots = 0;       // of a registered worker, and
  std::int64_t used = 0;
  bool connected = false;
  bool draining = false;        // it is on its way out by itself
  bool held = false;            // quarantined by the keeper, to be given back once it is empty
  bool barred = false;          // quarantined for another reason
  // When it was first seen without a worker, without a connection, or without work; what it is now began then.
  std::int64_t since_ms = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};

// What became of asking. The keeper remembers it.
struct Asking {
  std::int64_t failures = 0;    // in a row
  std::int64_t not_before_ms = 0;
};

struct Order {
  std::int64_t machines = 0;
  std::optional<GangRequest> gang;
  friend bool operator==(const Order& a, const Order& b);
};

struct PoolPlan {
  std::vector<Order> grow;
  // Indices into the machines: whose workers get nothing new from now on; whose get work again; whole units to be given back.
  std::vector<std::size_t> hold;
  std::vector<std::size_t> unhold;
  std::vector<std::size_t> release;
  // Waiting runs that this pool cannot hold, for the next pool.
  std::vector<Waiting> left;
  std::string doing;  // for people: "asks for 2 machines, for r1 and 3 more runs", "idle", ...
};

// A machine that is up and whose worker does not register, or does not come back, within this time is given back.
inline constexpr std::int64_t kRegisterLimitMs = 600'000;

// `waiting` in the order in which they would be placed. `any` is the provider's CanReleaseAny.
PoolPlan PlanPool(const std::vector<Waiting>& waiting, const std::vector<Seen>& machines, const PoolLimits& limits, bool any,
                  const Asking& asking, std::int64_t now_ms);

// Pause after so many failures in a row: 5 s, doubled up to five minutes.
std::int64_t PauseAfter(std::int64_t failures);

}  // namespace entrain::pool
