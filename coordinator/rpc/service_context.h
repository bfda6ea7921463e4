// What the services need from the process they run in. Everything here is thread-safe and outlives the services.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "artifacts/artifact_store.h"
#include "artifacts/pins.h"
#include "base/random.h"
#include "coordinator/pool/board.h"
#include "coordinator/rpc/access.h"
#include "coordinator/rpc/fleet_hub.h"
#include "coordinator/retention/report.h"
#include "coordinator/rpc/reply_board.h"
#include "coordinator/samples/published_state.h"
#include "coordinator/samples/sample_lane.h"
#include "coordinator/store/store.h"

namespace entrain::rpc {

struct ServiceContext {
  // Hands an event to the core; waits while its queue is full. UNAVAILABLE when the process is ending.
  std::function<absl::Status(samples::EventBody)> post;
  ReplyBoard* replies = nullptr;
  FleetHub* fleet = nullptr;
  const samples::PublishedState* published = nullptr;
  samples::SampleLane* lane = nullptr;
  store::SampleStore* samples = nullptr;
  store::LogStore* logs = nullptr;
  artifacts::ArtifactStore* artifacts = nullptr;
  artifacts::Pins* pins = nullptr;  // of what is being sent to people
  // One pass of retention; `dry`: only what it would do.
  std::function<absl::StatusOr<retention::PassReport>(bool dry)> collect;
  IdSource* ids = nullptr;
  Access* access = nullptr;
  const pool::PoolBoard* pools = nullptr;
  std::int64_t lease_ms = 15'000;
  std::int64_t heartbeat_interval_ms = 3'000;
  // Reaching one of limits.h, by its name; may be empty.
  std::function<void(const std::string& limit)> count_limit;
};

}  // namespace entrain::rpc
