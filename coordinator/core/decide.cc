#include <utility>
#include <variant>

#include "coordinator/core/core.h"
#include "coordinator/core/decider.h"
#include "domain/sample.h"

namespace entrain::core {

Decision Decide(State state, const domain::Event& event) {
  Decider d(std::move(state), event);
  if (!state.term_started_ms.has_value()) d.Emit(domain::TermStarted{});
  std::visit([&d](const auto& body) { On(&d, body); }, event.body);
  ReleaseHeldBack(&d);
  DecideRungs(&d);
  if (d.preemption_asked()) AgeHeads(&d);
  if (d.placement_asked()) {
    const std::vector<scheduler::Request> waiting = Place(&d);
    // What is kept for a run that others make room for may leave room elsewhere.
    if (d.preemption_asked() && Preempt(&d, waiting)) Place(&d);
  }
  return d.Take();
}

std::vector<domain::Effect> EffectsAfterRecovery(const State& state) {
  std::vector<domain::Effect> effects;
  for (const auto& [id, run] : state.runs) {
    if (domain::IsFinal(run->state) || run->attempt == 0) continue;
    const Attempt* newest = run->current.get();
    if (newest == nullptr && !run->past.empty()) newest = run->past.back().get();
    if (newest == nullptr) continue;
    effects.push_back(domain::BeginAttempt{newest->key, newest->resume_from.step});
    if (run->pending_end.has_value()) effects.push_back(domain::JudgeThrough{newest->key, run->pending_end->last_step});
  }
  return effects;
}

domain::Checkpoint ResumePoint(const Run& run) {
  return run.checkpoints.empty() ? run.fork : run.checkpoints.back();
}

std::int64_t LastKnownStep(const Run& run) {
  std::int64_t step = ResumePoint(run).step;
  if (!run.past.empty() && run.past.back()->end.has_value()) step = std::max(step, run.past.back()->end->last_step);
  return step;
}

}  // namespace entrain::core
