// Between the machines and the coordinator: streams that break, lose what was in flight, and show it late or on one side only. A lost
// message takes all later ones of its direction with it, as TCP would; duplicates and, in some seeds, overtaking inside a stream go
// beyond what gRPC does: reports and commands are made to bear both.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <variant>
#include <vector>

#include "domain/effect.h"
#include "domain/event.h"
#include "sim/stage.h"
#include "worker/core/worker_core.h"

namespace entrain::sim {

// One opening of a worker's streams to one life of the coordinator's process.
struct Connection {
  WorkerId worker;
  std::uint64_t incarnation = 0;
  std::uint64_t life = 0;  // 0: not accepted yet
  bool lost_up = false;    // nothing reaches the coordinator any more
  bool lost_down = false;  // nothing reaches the worker any more
  std::int64_t heard_ms = 0;  // when the coordinator last heard it
  std::int64_t last_up_ms = 0;
  std::int64_t last_down_ms = 0;
};
using ConnectionPtr = std::shared_ptr<Connection>;

struct Welcome {
  std::int64_t lease_ms = 0;
  std::int64_t heartbeat_ms = 0;
};
struct LeaseTerm {
  std::int64_t lease_ms = 0;
};
struct SampleAck {
  domain::AttemptKey key;
  std::int64_t through_step = 0;
  bool fenced = false;
};
struct Refused {};  // the stream ends
using ToWorker = std::variant<Welcome, LeaseTerm, domain::LaunchAttempt, domain::StopAttempt, domain::ForgetAttempt,
                              domain::AcknowledgeReport, SampleAck, Refused>;

struct SampleBatch {
  domain::AttemptKey key;
  std::vector<domain::EntropySample> samples;
};
struct Goodbye {};  // the worker closed its end
using ToCoordinator = std::variant<domain::WorkerJoined, domain::WorkerHeartbeat, worker::Report, SampleBatch, Goodbye>;

class Network {
 public:
  explicit Network(Stage* stage) : stage_(stage) {}

  void RouteCoordinator(std::function<void(const ConnectionPtr&, const ToCoordinator&)> handler) { to_coordinator_ = std::move(handler); }
  void RouteWorker(const WorkerId& worker, std::function<void(const ConnectionPtr&, const ToWorker&)> handler) {
    to_worker_[worker] = std::move(handler);
  }

  void Up(const ConnectionPtr& connection, ToCoordinator message);
  void Down(const ConnectionPtr& connection, ToWorker message);
  // A person's call or its answer: one message, lost or not.
  void Call(Timeline::Action action);

  // Cut both ways, or only one.
  void Cut(const WorkerId& worker, bool up, bool down);
  void Heal();

 private:
  std::int64_t DelayMs();
  // When it arrives, or -1: never.
  std::int64_t Arrival(bool* lost, bool cut, bool keeps_order, std::int64_t* last_ms);

  Stage* const stage_;
  std::function<void(const ConnectionPtr&, const ToCoordinator&)> to_coordinator_;
  std::map<WorkerId, std::function<void(const ConnectionPtr&, const ToWorker&)>> to_worker_;
  std::set<WorkerId> cut_up_;
  std::set<WorkerId> cut_down_;
};

}  // namespace entrain::sim
