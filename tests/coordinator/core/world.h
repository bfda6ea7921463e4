// A coordinator core with its journal, for tests: every event is decided, "stored" and applied, and after each all invariants are
// checked. What breaks is collected, so that a random test can say which event did it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "coordinator/core/core.h"

namespace entrain::core {

class World {
 public:
  explicit World(const CoreConfig& config) : config_(config), state_(config) {}

  // Decides the event at the present time; the effects that left.
  template <typename Body>
  std::vector<domain::Effect> Do(Body body) {
    domain::Event event;
    event.at_ms = now_ms_;
    event.wall_ms = 1'700'000'000'000 + now_ms_;
    event.body = std::move(body);
    return Step(event);
  }
  void Advance(std::int64_t ms) { now_ms_ += ms; }
  std::int64_t now_ms() const { return now_ms_; }
  const State& state() const { return state_; }

  // The process dies and starts again from its journal.
  std::vector<domain::Effect> Restart();

  // From here on nothing fails: machines come back with what they hold, gangs train to their last step, paused runs are resumed.
  // Whether every run ended that could.
  bool DriveToEnd();

  // Sentences about what broke, each with the number of the event.
  const std::vector<std::string>& broken() const { return broken_; }
  std::size_t events() const { return events_; }
  const std::vector<domain::Fact>& journal() const { return journal_; }

  // Of a worker, over all its connections.
  std::uint64_t NextIncarnation(const WorkerId& worker) { return ++incarnations_[worker]; }

 private:
  std::vector<domain::Effect> Step(const domain::Event& event);
  void CheckTransitions(const State& before);
  void CheckProgress();
  void Break(const std::string& what);
  void RejoinAll();
  void FinishAttempt(const Run& run);

  CoreConfig config_;
  State state_;
  std::vector<domain::Fact> journal_;
  std::vector<std::string> broken_;
  std::size_t events_ = 0;
  std::int64_t now_ms_ = 1'000'000;
  std::map<WorkerId, std::uint64_t> incarnations_;
  std::uint64_t next_report_ = 1'000'000;
};

// A run of one cell named after `label`.
domain::RunSpec MakeRunSpec(const std::string& label, std::int64_t machines, std::int64_t ranks, std::int64_t steps = 100,
                            std::int64_t max_failures = 2);
domain::WorkerInfo MakeWorkerInfo(const std::string& id, std::int32_t slots);

}  // namespace entrain::core
