// The coordinator's process: the real decision loop, core and run judges around a disk that outlives it, and the streams to the workers.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "coordinator/samples/run_judge.h"
#include "coordinator/server/core_loop.h"
#include "coordinator/store/store.h"
#include "sim/coverage.h"
#include "sim/disk.h"
#include "sim/network.h"
#include "sim/referee.h"
#include "sim/stage.h"

namespace entrain::sim {

class Coordinator {
 public:
  Coordinator(Stage* stage, Network* network, Referee* referee, const core::CoreConfig& config);

  void Start();
  // The process ends at once, and starts again after this time.
  void Crash(const std::string& why, std::int64_t down_ms);
  bool running() const { return loop_ != nullptr; }

  // A person's request; `answer` is called when a reply leaves. Dropped while the process is down.
  // What another part of the same process asks; nobody waits for an answer. While it runs.
  void Ask(decltype(domain::Event::body) body) { Post(std::move(body)); }
  void Request(decltype(domain::Event::body) body, domain::RequestId request, std::function<void(const domain::Reply&)> answer);

  samples::PublishedState::View state() const { return published_.Get(); }
  store::SampleStore& samples() { return *samples_; }
  const Coverage& coverage() const { return coverage_; }
  const Disk& disk() const { return disk_; }
  std::int64_t events() const { return events_; }
  std::int64_t crashes() const { return crashes_; }

 private:
  using EventBody = decltype(domain::Event::body);
  static constexpr std::int64_t kHeartbeatMs = 1'500;

  void Receive(const ConnectionPtr& connection, const ToCoordinator& message);
  void Accept(const ConnectionPtr& connection, const domain::WorkerJoined& joined);
  void StoreSamples(const ConnectionPtr& connection, const SampleBatch& batch);
  void EndStream(const ConnectionPtr& connection);
  void Post(EventBody body);
  void Decide();
  void Act(const domain::Effect& effect);
  void ToLane(std::function<absl::Status(samples::RunJudge*, std::vector<EventBody>*)> job, const RunId& run);
  void TickLoop(std::uint64_t life);
  void WriteSnapshot();
  // Only while this life of the process lasts.
  void Later(std::int64_t delay_ms, std::function<void()> action);

  Stage* const stage_;
  Network* const network_;
  Referee* const referee_;
  const core::CoreConfig config_;
  Disk disk_;
  std::unique_ptr<store::Store> samples_ = store::MakeMemoryStore();
  Coverage coverage_;
  std::int64_t events_ = 0;
  std::int64_t crashes_ = 0;
  std::uint64_t lives_ = 0;

  // Of the present life.
  ManualClock clock_;
  std::int64_t clock_set_at_ms_ = 0;
  samples::PublishedState published_;
  std::unique_ptr<server::CoreLoop> loop_;
  std::vector<EventBody> inbox_;
  std::map<WorkerId, ConnectionPtr> connections_;
  std::map<domain::RequestId, std::function<void(const domain::Reply&)>> callers_;
  std::map<RunId, std::unique_ptr<samples::RunJudge>> judges_;
  std::int64_t lane_busy_until_ms_ = 0;
  std::map<RunId, std::int64_t> heard_at_ms_;  // when the core hears the last of what the lane said of a run
};

}  // namespace entrain::sim
