#include "coordinator/core/explain.h"

#include <set>

#include "base/strings.h"
#include "coordinator/core/edit.h"
#include "coordinator/scheduler/plan.h"

namespace entrain::core {

namespace {

// Runs on the machines reserved for it that are on their way out.
std::int64_t StoppingFor(const State& state, const Run& run) {
  std::set<RunId> stopping;
  for (const WorkerId& id : run.reserved) {
    const Worker* worker = state.FindWorker(id);
    if (worker == nullptr) continue;
    for (const domain::AttemptKey& key : worker->slots) {
      const Run* holder = key.attempt == 0 ? nullptr : state.FindRun(key.run);
      if (holder != nullptr && holder->state == domain::RunState::kStopping) stopping.insert(holder->id);
    }
  }
  return static_cast<std::int64_t>(stopping.size());
}

}  // namespace

Wait DescribeWait(const State& state, const RunId& id) {
  const Run* run = state.FindRun(id);
  if (run == nullptr || run->state != domain::RunState::kQueued) return {};
  if (HeldBack(*run)) {
    return {false, StrCat("tried again ", (run->not_before_ms - state.at_ms + 999) / 1000, " s from now, after failure ", run->failures,
                          ": ", run->reason)};
  }
  const auto name = [&state](const RunId& other) {
    const Run* found = state.FindRun(other);
    return found == nullptr ? other.value() : found->spec->label;
  };
  const scheduler::WaitReason reason = scheduler::Explain(state.index, RequestOf(state, *run), name);
  std::string text = reason.text;
  if (run->aged && run->reserved.empty()) StrAppend(&text, "; it waited so long that nothing of its priority goes first");
  if (const std::int64_t stopping = StoppingFor(state, *run); stopping > 0) {
    StrAppend(&text, "; ", stopping, stopping == 1 ? " run of lower priority is" : " runs of lower priority are", " being stopped for it");
  }
  return {reason.never, text};
}

Wait DescribeFit(const State& state, const domain::Resources& resources) {
  const scheduler::WaitReason reason = scheduler::ExplainFit(state.index.fleet, scheduler::ShapeOf(resources));
  return {reason.never, reason.text};
}

}  // namespace entrain::core
