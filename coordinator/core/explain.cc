#include "coordinator/core/explain.h"

#include "base/strings.h"
#include "coordinator/core/edit.h"
#include "coordinator/scheduler/plan.h"

namespace entrain::core {

Wait DescribeWait(const State& state, const RunId& id) {
  const Run* run = state.FindRun(id);
  if (run == nullptr || run->state != domain::RunState::kQueued) return {};
  if (HeldBack(*run)) {
    return {false, StrCat("tried again ", (run->not_before_ms - state.at_ms + 999) / 1000, " s from now, after failure ", run->failures,
                          ": ", run->reason)};
  }
  const scheduler::WaitReason reason = scheduler::Explain(state.index, RequestOf(state, *run));
  return {reason.never, reason.text};
}

Wait DescribeFit(const State& state, const domain::Resources& resources) {
  const scheduler::WaitReason reason = scheduler::ExplainFit(state.index.fleet, scheduler::ShapeOf(resources));
  return {reason.never, reason.text};
}

}  // namespace entrain::core
