#include "coordinator/core/compact.h"

#include <algorithm>
#include <map>
#include <set>

#include "coordinator/core/core.h"

namespace entrain::core {
namespace {

// Each rule drops a fact for one reason, and each looks only at what the rules themselves never drop, so that a second pass finds
// nothing more. Facts that are counted (sweeps, runs, placements, requeues, verdicts, lost workers, ends) always stay.

// The run whose history the fact adds to; of a retry, the new one.
const RunId* RunOf(const domain::Fact& fact) {
  return std::visit([](const auto& body) -> const RunId* {
    if constexpr (requires { body.key.run; }) return &body.key.run;
    else if constexpr (requires { body.run; }) return &body.run;
    else return nullptr;
  }, fact.body);
}

template <typename... Bodies>
bool IsOneOf(const domain::Fact& fact) {
  return (std::holds_alternative<Bodies>(fact.body) || ...);
}

// Whether the fact leaves the state as it is, but for what a later registration of the same worker sets again.
bool ChangesNothing(const State& state, const domain::Fact& fact, bool registered_later) {
  if (const auto* released = std::get_if<domain::MemberReleased>(&fact.body)) {
    // The attempt holds nothing there any more: Apply returns at once.
    const Attempt* attempt = state.FindAttempt(released->key);
    return attempt == nullptr || std::count(attempt->holds.begin(), attempt->holds.end(), released->worker) == 0;
  }
  if (const auto* registered = std::get_if<domain::WorkerRegistered>(&fact.body)) {
    // The same machine reconnected: only the incarnation and when it was heard are new, and the next registration replaces both.
    const Worker* worker = state.FindWorker(registered->info.id);
    return registered_later && worker != nullptr && !worker->silent && worker->info == registered->info;
  }
  return false;
}

// What comes after the fact that is being looked at, walking from the last to the first.
struct Later {
  struct OfRun {
    std::size_t history = 0;
    std::size_t checkpoints = 0;
    bool reset = false;  // a fact that sets state, reason, stop, wait, pending end and pause whatever they were
  };
  std::map<RunId, OfRun> runs;
  std::set<WorkerId> draining;

  void Add(const domain::Fact& fact) {
    if (const auto* drain = std::get_if<domain::WorkerDraining>(&fact.body)) draining.insert(drain->worker);
    if (const auto* retried = std::get_if<domain::RunRetried>(&fact.body)) ++runs[retried->previous].history;
    if (const auto* rescued = std::get_if<domain::RunRescued>(&fact.body)) ++runs[rescued->previous].history;
    const RunId* run = RunOf(fact);
    if (run == nullptr || IsOneOf<domain::MemberReleased, domain::CheckpointsRetired>(fact)) return;
    OfRun& later = runs[*run];
    if (IsOneOf<domain::CheckpointRecorded>(fact)) {
      ++later.checkpoints;
    } else {
      ++later.history;
    }
    later.reset |= IsOneOf<domain::RunRequeued, domain::RunPaused, domain::RunFinished>(fact);
  }
};

// Whether the run still shows this attempt, or a machine still holds it.
bool Keeps(const State& end, const domain::AttemptKey& key) {
  const Run& run = *end.FindRun(key.run);
  const auto is_it = [&](const auto& attempt) { return attempt != nullptr && attempt->key == key; };
  return end.FindAttempt(key) != nullptr || is_it(run.current) || std::any_of(run.past.begin(), run.past.end(), is_it);
}

// `end` is the state after all facts.
bool IsSuperseded(const domain::Fact& fact, const Later& later, const State& end) {
  if (const auto* drain = std::get_if<domain::WorkerDraining>(&fact.body)) {
    // The next one sets the same mark, which Apply never reads.
    return later.draining.contains(drain->worker);
  }
  const RunId* run = RunOf(fact);
  const auto found = run == nullptr ? later.runs.end() : later.runs.find(*run);
  if (found == later.runs.end()) return false;
  const Later::OfRun& after = found->second;
  if (const auto* recorded = std::get_if<domain::CheckpointRecorded>(&fact.body)) {
    // It fell out of the bounded list. A waiting run's place in the queue remembers the device of the checkpoint that was newest when
    // it entered, whichever that was.
    const Run& shown = *end.FindRun(*run);
    return after.checkpoints > 0 && shown.state != domain::RunState::kQueued &&
           std::find(shown.checkpoints.begin(), shown.checkpoints.end(), recorded->checkpoint) == shown.checkpoints.end();
  }
  if (const auto* retired = std::get_if<domain::CheckpointsRetired>(&fact.body)) {
    // All that it retired fell out of the bounded list, and what recorded them is left out by the rule above.
    const Run& shown = *end.FindRun(*run);
    return after.checkpoints > 0 && shown.state != domain::RunState::kQueued && std::none_of(shown.retired.begin(), shown.retired.end(), [&](const auto& kept) {
             return std::find(retired->checkpoints.begin(), retired->checkpoints.end(), kept.checkpoint) != retired->checkpoints.end();
           });
  }
  // Its entry fell out of the bounded history and everything else that it set was set again.
  if (after.history < end.config.max_history || !after.reset) return false;
  if (const auto* started = std::get_if<domain::RunStarted>(&fact.body)) {
    // A run with a time limit counts how long each of its attempts was up.
    return !Keeps(end, started->key) && end.FindRun(*run)->spec->limits.max_duration_s == 0;
  }
  return IsOneOf<domain::WaitReasonChanged, domain::StopDecided, domain::RunPaused, domain::RunResumed>(fact);
}

std::map<WorkerId, std::size_t> LastRegistrations(const std::vector<domain::Fact>& facts) {
  std::map<WorkerId, std::size_t> last;
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (const auto* registered = std::get_if<domain::WorkerRegistered>(&facts[i].body)) last[registered->info.id] = i;
  }
  return last;
}

// A run shows when it first started: that fact stays.
bool IsFirstStart(const State& state, const domain::Fact& fact) {
  const auto* started = std::get_if<domain::RunStarted>(&fact.body);
  return started != nullptr && state.FindRun(started->key.run)->started_wall_ms == 0;
}

}  // namespace

std::vector<domain::Fact> CompactFacts(std::vector<domain::Fact> facts, const CoreConfig& config) {
  // The journal never holds them.
  std::erase_if(facts, domain::IsTransient);
  if (facts.empty()) return facts;
  const std::map<WorkerId, std::size_t> last_registration = LastRegistrations(facts);
  std::vector<bool> drop(facts.size(), false);
  std::vector<bool> first_start(facts.size(), false);
  State state(config);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const auto* registered = std::get_if<domain::WorkerRegistered>(&facts[i].body);
    drop[i] = ChangesNothing(state, facts[i], registered != nullptr && last_registration.at(registered->info.id) > i);
    first_start[i] = IsFirstStart(state, facts[i]);
    Apply(&state, facts[i]);
  }
  Later later;
  for (std::size_t i = facts.size(); i-- > 0;) {
    drop[i] = drop[i] || (!first_start[i] && IsSuperseded(facts[i], later, state));
    later.Add(facts[i]);
  }
  // The last one gives the state its time.
  drop.back() = false;
  std::vector<domain::Fact> kept;
  for (std::size_t i = 0; i < facts.size(); ++i) {
    if (!drop[i]) kept.push_back(std::move(facts[i]));
  }
  return kept;
}

}  // namespace entrain::core
