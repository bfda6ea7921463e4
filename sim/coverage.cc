#include "sim/coverage.h"

#include <string_view>
#include <tuple>
#include <utility>
#include <variant>

#include "base/strings.h"
#include "coordinator/core/edit.h"

namespace entrain::sim {
namespace {

using domain::RunState;
using Pair = std::pair<std::string, std::string>;

// What the event is about decides which states it meets.
const std::vector<std::string> kRunStates = {"unknown", "queued", "held_back", "queued_silent", "starting", "running", "judging", "paused",
                                             "stopping", "stopping_judging", "succeeded", "halted", "pruned", "failed", "cancelled"};
const std::vector<std::string> kRunning = {"running"};
const std::vector<std::string> kStatesButRunning = [] {
  std::vector<std::string> states = kRunStates;
  std::erase(states, kRunning.front());
  return states;
}();
const std::vector<std::string> kWorkerStates = {"unknown", "live", "draining", "quarantined", "away", "silent"};
const std::vector<std::string> kKeyStates = {"new", "known_same", "known_other"};
const std::vector<std::string> kClockStates = {"any"};

std::string StateOf(const core::State& state, const RunId& id) {
  const core::Run* run = state.FindRun(id);
  if (run == nullptr) return "unknown";
  if (run->pending_end.has_value()) return run->state == RunState::kStopping ? "stopping_judging" : "judging";
  if (core::HeldBack(*run)) return "held_back";
  if (run->state == RunState::kQueued && run->current != nullptr) return "queued_silent";
  return std::string(ToString(run->state));
}

std::string StateOf(const core::State& state, const WorkerId& id) {
  const core::Worker* worker = state.FindWorker(id);
  return worker == nullptr ? "unknown" : worker->StatusText();
}

// An event of a kind: its row, and the state that it meets. One overload a kind that Decide knows.
struct Row {
  std::string event;
  const std::vector<std::string>* states;
};
Pair PairOf(const core::State& state, const domain::SubmitSweep& event) {
  const SweepId* known = state.sweeps_by_key.Find(core::SweepKey(event.spec.owner, event.idempotency_key));
  if (known == nullptr) return {"new", "submit"};
  return {state.FindSweep(*known)->content_hash == core::ContentHash(event.spec) ? "known_same" : "known_other", "submit"};
}
Pair PairOf(const core::State& state, const domain::ActOnRun& event) {
  constexpr std::string_view kNames[] = {"stop", "pause", "resume"};
  return {StateOf(state, event.run), std::string(kNames[static_cast<int>(event.action)])};
}
Pair PairOf(const core::State& state, const domain::RetryRun& event) { return {StateOf(state, event.run), "retry"}; }
Pair PairOf(const core::State& state, const domain::WorkerJoined& event) { return {StateOf(state, event.info.id), "joined"}; }
Pair PairOf(const core::State& state, const domain::WorkerHeartbeat& event) { return {StateOf(state, event.worker), "heartbeat"}; }
Pair PairOf(const core::State& state, const domain::WorkerDisconnected& event) { return {StateOf(state, event.worker), "disconnected"}; }
Pair PairOf(const core::State& state, const domain::AttemptStarted& event) { return {StateOf(state, event.key.run), "started"}; }
Pair PairOf(const core::State& state, const domain::AttemptEnded& event) { return {StateOf(state, event.key.run), "ended"}; }
Pair PairOf(const core::State& state, const domain::CheckpointPublished& event) { return {StateOf(state, event.key.run), "checkpoint"}; }
// A running run meets every action of a rule; in other states they are one.
Pair PairOf(const core::State& state, const domain::VerdictReached& event) {
  const std::string met = StateOf(state, event.run);
  return {met, met == kRunning.front() ? StrCat("verdict_", ToString(event.verdict.action)) : "verdict"};
}
Pair PairOf(const core::State& state, const domain::RunJudged& event) { return {StateOf(state, event.key.run), "judged"}; }
Pair PairOf(const core::State& state, const domain::RungReached& event) { return {StateOf(state, event.key.run), "rung"}; }
Pair PairOf(const core::State& state, const domain::RunProgressed& event) { return {StateOf(state, event.key.run), "progressed"}; }
Pair PairOf(const core::State& state, const domain::ActOnWorker& event) {
  return {StateOf(state, event.worker), std::string(ToString(event.action))};
}
Pair PairOf(const core::State& state, const domain::RetireCheckpoints& event) { return {StateOf(state, event.run), "retire"}; }
Pair PairOf(const core::State&, const domain::ReleaseSweep&) { return {"any", "release_sweep"}; }
Pair PairOf(const core::State&, const domain::StoreRestored&) { return {"any", "restored"}; }
Pair PairOf(const core::State&, const domain::Tick&) { return {"any", "tick"}; }

std::vector<Row> RowsOf(const domain::SubmitSweep*) { return {{"submit", &kKeyStates}}; }
std::vector<Row> RowsOf(const domain::ActOnRun*) { return {{"stop", &kRunStates}, {"pause", &kRunStates}, {"resume", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::RetryRun*) { return {{"retry", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::WorkerJoined*) { return {{"joined", &kWorkerStates}}; }
std::vector<Row> RowsOf(const domain::WorkerHeartbeat*) { return {{"heartbeat", &kWorkerStates}}; }
std::vector<Row> RowsOf(const domain::WorkerDisconnected*) { return {{"disconnected", &kWorkerStates}}; }
std::vector<Row> RowsOf(const domain::AttemptStarted*) { return {{"started", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::AttemptEnded*) { return {{"ended", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::CheckpointPublished*) { return {{"checkpoint", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::VerdictReached*) {
  return {{"verdict", &kStatesButRunning}, {"verdict_stop_and_keep", &kRunning}, {"verdict_stop", &kRunning},
          {"verdict_notify", &kRunning},   {"verdict_pause", &kRunning},         {"verdict_rescue", &kRunning}};
}
std::vector<Row> RowsOf(const domain::RunJudged*) { return {{"judged", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::RungReached*) { return {{"rung", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::RunProgressed*) { return {{"progressed", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::ActOnWorker*) { return {{"quarantine", &kWorkerStates}, {"release", &kWorkerStates}, {"forget", &kWorkerStates}}; }
std::vector<Row> RowsOf(const domain::RetireCheckpoints*) { return {{"retire", &kRunStates}}; }
std::vector<Row> RowsOf(const domain::ReleaseSweep*) { return {{"release_sweep", &kClockStates}}; }
std::vector<Row> RowsOf(const domain::StoreRestored*) { return {{"restored", &kClockStates}}; }
std::vector<Row> RowsOf(const domain::Tick*) { return {{"tick", &kClockStates}}; }

template <typename... Bodies>
std::vector<Row> AllRows(const std::variant<Bodies...>*) {
  std::vector<Row> rows;
  const auto add = [&rows](std::vector<Row> some) { rows.insert(rows.end(), some.begin(), some.end()); };
  (add(RowsOf(static_cast<const Bodies*>(nullptr))), ...);
  return rows;
}

// Pairs that cannot be, each with why.
struct Exception {
  Pair pair;
  std::string why;
};
std::vector<Exception> Exceptions() {
  std::vector<Exception> all;
  for (const Row& row : AllRows(static_cast<const decltype(domain::Event::body)*>(nullptr))) {
    if (row.states != &kRunStates && row.states != &kStatesButRunning) continue;
    if (row.event == "retire") continue;
    if (row.event == "stop" || row.event == "pause" || row.event == "resume" || row.event == "retry") continue;
    all.push_back({{"unknown", row.event}, "a worker or the lane speaks only of runs that a durable decision started"});
  }
  for (const char* state : {"queued", "held_back", "queued_silent", "starting", "running", "paused", "stopping", "failed", "cancelled"}) {
    all.push_back({{state, "judged"}, "the lane is asked to judge once an attempt has trained its last step; from there a run only goes to a result"});
  }
  all.push_back({{"any", "restored"}, "no backup is restored here: tests/scenarios/restore.txt does"});
  return all;
}

}  // namespace

void Coverage::Reach(const core::State& state, const decltype(domain::Event::body)& body) {
  ++seen_[std::visit([&](const auto& event) { return PairOf(state, event); }, body)];
}

void Coverage::Add(const Coverage& other) {
  for (const auto& [pair, times] : other.seen_) seen_[pair] += times;
}

std::size_t Coverage::LegalPairs() {
  std::size_t pairs = 0;
  for (const Row& row : AllRows(static_cast<const decltype(domain::Event::body)*>(nullptr))) pairs += row.states->size();
  return pairs - Exceptions().size();
}

std::size_t Coverage::reached() const { return LegalPairs() - Missed().size(); }

std::vector<std::string> Coverage::Missed() const {
  std::set<Pair> unreachable;
  for (const Exception& exception : Exceptions()) unreachable.insert(exception.pair);
  std::vector<std::string> missed;
  for (const Row& row : AllRows(static_cast<const decltype(domain::Event::body)*>(nullptr))) {
    for (const std::string& state : *row.states) {
      const Pair pair(state, row.event);
      if (!seen_.contains(pair) && !unreachable.contains(pair)) missed.push_back(StrCat(state, " x ", row.event));
    }
  }
  return missed;
}

std::vector<std::string> Coverage::Impossible() const {
  std::vector<std::string> found;
  for (const Exception& exception : Exceptions()) {
    if (seen_.contains(exception.pair)) found.push_back(StrCat(exception.pair.first, " x ", exception.pair.second, ": ", exception.why));
  }
  return found;
}

std::vector<std::string> Coverage::Unreachable() {
  std::vector<std::string> texts;
  for (const Exception& exception : Exceptions()) texts.push_back(StrCat(exception.pair.first, " x ", exception.pair.second, ": ", exception.why));
  return texts;
}

}  // namespace entrain::sim
