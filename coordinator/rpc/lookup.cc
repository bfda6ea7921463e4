#include "coordinator/rpc/lookup.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::rpc {
namespace {

// Ids shown when a prefix fits several.
constexpr std::size_t kShownCandidates = 4;

// The only entry whose id starts with `prefix`.
template <typename Id, typename Value>
absl::StatusOr<const Value*> FindByPrefix(const core::Shared<Id, Value>& map, std::string_view prefix, std::string_view kind) {
  if (prefix.empty()) return absl::InvalidArgumentError(StrCat("no ", kind, " named"));
  const Value* found = nullptr;
  std::string candidates;
  std::size_t count = 0;
  for (auto at = map.LowerBound(Id(std::string(prefix))); at != map.end(); ++at) {
    if (at->first.value().substr(0, prefix.size()) != prefix) break;
    if (++count > kShownCandidates) break;
    StrAppend(&candidates, count == 1 ? "" : ", ", at->first.value());
    found = &*at->second;
  }
  if (count == 0) return absl::NotFoundError(StrCat("no ", kind, " \"", prefix, "\""));
  if (count == 1) return found;
  return absl::InvalidArgumentError(StrCat("\"", prefix, "\" fits several ", kind, "s: ", candidates,
                                           count > kShownCandidates ? ", ..." : ""));
}

const core::Run* FindByLabel(const core::State& state, std::string_view label) {
  const core::Sweep* sweep = NewestSweep(state);
  if (sweep == nullptr) return nullptr;
  for (const RunId& id : *sweep->runs) {
    const core::Run* run = state.FindRun(id);
    if (run != nullptr && run->spec->label == label) return run;
  }
  return nullptr;
}

Targets RunsOf(const core::State& state, const core::Sweep& sweep) {
  Targets targets;
  targets.is_sweep = true;
  for (const RunId& id : *sweep.runs) {
    if (const core::Run* run = state.FindRun(id)) targets.runs.push_back(run);
  }
  return targets;
}

}  // namespace

const core::Sweep* NewestSweep(const core::State& state) {
  // Numbers grow by one a sweep, so the counter is the newest one's.
  const SweepId* newest = state.sweeps_by_number.Find(state.counters.sweeps);
  return newest == nullptr ? nullptr : state.FindSweep(*newest);
}

absl::StatusOr<const core::Sweep*> FindSweep(const core::State& state, std::string_view text) {
  if (text == "last") {
    const core::Sweep* newest = NewestSweep(state);
    if (newest == nullptr) return absl::NotFoundError("there is no sweep yet");
    return newest;
  }
  if (const core::Sweep* exact = state.FindSweep(SweepId(std::string(text)))) return exact;
  return FindByPrefix(state.sweeps, text, "sweep");
}

absl::StatusOr<const core::Run*> FindRun(const core::State& state, std::string_view text) {
  if (const core::Run* exact = state.FindRun(RunId(std::string(text)))) return exact;
  if (const core::Run* labelled = FindByLabel(state, text)) return labelled;
  return FindByPrefix(state.runs, text, "run");
}

absl::StatusOr<const core::Worker*> FindWorker(const core::State& state, std::string_view text) {
  if (const core::Worker* exact = state.FindWorker(WorkerId(std::string(text)))) return exact;
  const core::Worker* named = nullptr;
  for (const auto& [id, worker] : state.workers) {
    if (worker->info.name != text) continue;
    if (named != nullptr) return absl::InvalidArgumentError(StrCat("several workers are called \"", text, "\": use an id"));
    named = &*worker;
  }
  if (named != nullptr) return named;
  return FindByPrefix(state.workers, text, "worker");
}

absl::StatusOr<Targets> FindTargets(const core::State& state, std::string_view text) {
  if (text == "last" || state.FindSweep(SweepId(std::string(text))) != nullptr) {
    ENTRAIN_ASSIGN_OR_RETURN(const core::Sweep* sweep, FindSweep(state, text));
    return RunsOf(state, *sweep);
  }
  const absl::StatusOr<const core::Run*> run = FindRun(state, text);
  if (run.ok()) return Targets{false, {*run}};
  const absl::StatusOr<const core::Sweep*> sweep = FindSweep(state, text);
  if (sweep.ok()) return RunsOf(state, **sweep);
  // The more telling of the two: an ambiguity before an absence.
  if (!absl::IsNotFound(run.status())) return run.status();
  if (!absl::IsNotFound(sweep.status())) return sweep.status();
  return absl::NotFoundError(StrCat("no run or sweep \"", text, "\""));
}

}  // namespace entrain::rpc
