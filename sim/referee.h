// What must hold, seen from outside the core: it keeps its own account of what is durable, of who was answered, and of which processes
// really live, and compares.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/core.h"
#include "domain/effect.h"
#include "domain/event.h"
#include "domain/fact.h"
#include "sim/stage.h"

namespace entrain::sim {

class Referee {
 public:
  Referee(Stage* stage, const core::CoreConfig& config) : stage_(stage), config_(config), durable_(config) {}

  // A transaction that a recovery would find.
  void Committed(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts);
  // The process has come back with this state; from here on every worker has a full lease.
  void Recovered(const core::State& state, std::int64_t at_ms);
  // After every decision.
  void Check(const core::State& state);
  // What the sample lane said to the core, in order.
  void LaneSaid(const decltype(domain::Event::body)& body);
  // Something leaves the coordinator.
  void Leaves(const domain::Effect& effect);
  // A caller heard that its sweep is admitted.
  void Promised(const SweepId& sweep, const std::string& content_hash);

  // Processes of an attempt on the machine that launched it.
  void GangBegan(const WorkerId& worker, const domain::AttemptKey& key, const std::vector<std::int32_t>& slots);
  void GangEnded(const WorkerId& worker, const domain::AttemptKey& key);
  std::size_t living_gangs() const { return gangs_.size(); }

  // Everything is over: every run has ended, nothing is held, nothing lives.
  void CheckEnd(const core::State& state);
  // State of what is durable, by the referee's own account.
  const core::State& durable() const { return durable_; }

 private:
  void Take(const domain::Fact& fact);
  void CheckTransition(const core::Run* before, const domain::Fact& fact);
  void CheckTurnOf(const core::Run& run, const domain::RunPlaced& placed);
  std::int64_t SlotsHeldBy(const std::string& owner) const;
  void CheckPreemption(const core::Run& victim, std::int64_t at_ms);
  void CheckSilence(const domain::WorkerSilent& fact, std::int64_t at_ms);
  // An attempt ends as its own head said.
  void CheckClosed(const domain::AttemptClosed& fact);
  // Of a gang over several machines each reaches the others.
  void CheckPeers(const domain::RunPlaced& fact);
  void CheckRetired(const core::Run& run, const domain::CheckpointsRetired& fact);
  // A verdict rests on samples that still count.
  void CheckVerdict(const core::Run& run, const domain::Verdict& verdict);
  void CheckQuarantines(const core::State& state);
  void CheckPromises(const core::State& state);
  // All of a gang or nothing: none that is counted on has a machine that is not.
  void CheckGangs(const core::State& state);
  // Whoever trained to its end is on record at every rung that it came to.
  void CheckRungs(const core::State& state, const core::Run& run);
  // In the calm: who is first in line gets its turn.
  void CheckTurn(const core::State& state);

  Stage* const stage_;
  const core::CoreConfig config_;
  core::State durable_;
  std::int64_t term_ms_ = 0;
  std::map<WorkerId, std::int64_t> heard_ms_;
  std::map<SweepId, std::string> promised_;
  std::map<domain::AttemptKey, domain::Gang> launched_;
  std::map<domain::AttemptKey, std::set<std::pair<domain::EndCause, std::int64_t>>> ends_;  // cause and last step, as reported
  std::map<RunId, AttemptNumber> verdicts_;  // the attempt that the lane's newest verdict on the run named
  std::set<domain::AttemptKey> began_;
  struct Gang {
    WorkerId worker;
    std::vector<std::int32_t> slots;
  };
  std::map<domain::AttemptKey, Gang> gangs_;
  std::map<std::pair<WorkerId, std::int32_t>, domain::AttemptKey> taken_;
  std::set<WorkerId> forgotten_;
  std::set<RunId> held_;  // at a rung, by an attempt that may have completed before the stop reached it
  RunId preempting_;  // whom the last reservation was for
  RunId first_in_line_;
  std::int64_t first_since_ms_ = 0;
};

}  // namespace entrain::sim
