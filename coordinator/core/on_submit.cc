// Admission of sweeps and of next generations.
#include <set>

#include "base/strings.h"
#include "coordinator/core/decider.h"
#include "coordinator/core/edit.h"
#include "coordinator/core/retention.h"

namespace entrain::core {
namespace {

absl::Status CheckRun(const domain::RunSpec& run) {
  const domain::Resources& resources = run.resources;
  if (resources.machines >= 1 && resources.ranks_per_machine >= 1 && resources.machines <= 1'000'000 &&
      resources.ranks_per_machine <= 1'000'000) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(StrCat("run \"", run.label, "\": resources must be 1 to 1000000, are machines=", resources.machines,
                                           " ranks_per_machine=", resources.ranks_per_machine));
}

absl::Status CheckSweep(const State& state, const domain::SubmitSweep& event) {
  if (event.proposed_id.empty()) return absl::InvalidArgumentError("the sweep has no id");
  if (event.idempotency_key.empty()) return absl::InvalidArgumentError("idempotency_key must not be empty");
  if (event.spec.runs.empty()) return absl::InvalidArgumentError("the sweep has no runs");
  if (event.spec.priority < -1'000'000'000 || event.spec.priority > 1'000'000'000) {
    return absl::InvalidArgumentError(StrCat("priority must be within 1000000000 of 0, is ", event.spec.priority));
  }
  if (event.spec.max_concurrent_runs < 0) {
    return absl::InvalidArgumentError(StrCat("max_concurrent_runs must not be negative, is ", event.spec.max_concurrent_runs));
  }
  const domain::EarlyStopping& halving = event.spec.early_stopping;
  if (halving.method != domain::Halving::kNone && (halving.min_steps < 1 || halving.reduction_factor < 2 || halving.window_steps < 1)) {
    return absl::InvalidArgumentError(StrCat("early_stopping needs min_steps of at least 1, reduction_factor of at least 2 and window_steps of at least 1; are ",
                                             halving.min_steps, ", ", halving.reduction_factor, " and ", halving.window_steps));
  }
  if (event.spec.runs.size() > state.config.max_runs_a_sweep) {
    return absl::ResourceExhaustedError(
        StrCat("the sweep has ", event.spec.runs.size(), " runs, the limit is ", state.config.max_runs_a_sweep));
  }
  std::set<RunId> ids;
  for (const domain::RunSpec& run : event.spec.runs) {
    if (const absl::Status status = CheckRun(run); !status.ok()) return status;
    const RunId id = domain::MakeRunId(event.proposed_id, run.cell, 1);
    if (!ids.insert(id).second) return absl::InvalidArgumentError(StrCat("run \"", run.label, "\" is in the sweep twice"));
    if (state.runs.Contains(id)) return absl::AbortedError(StrCat("run id ", id.value(), " is taken; submit again"));
  }
  if (state.sweeps.Contains(event.proposed_id)) {
    return absl::AbortedError(StrCat("sweep id ", event.proposed_id.value(), " is taken; submit again"));
  }
  return absl::OkStatus();
}

}  // namespace

void On(Decider* d, const domain::SubmitSweep& event) {
  if (const SweepId* known = d->state().sweeps_by_key.Find(SweepKey(event.spec.owner, event.idempotency_key))) {
    if (d->state().FindSweep(*known)->content_hash == ContentHash(event.spec)) {
      d->Answer(event.request, absl::OkStatus(), known->value());
      return;
    }
    d->Answer(event.request,
              absl::AlreadyExistsError(StrCat("idempotency key \"", event.idempotency_key, "\" belongs to sweep ", known->value(),
                                              ", which has another content")),
              known->value());
    return;
  }
  if (const absl::Status status = CheckSweep(d->state(), event); !status.ok()) {
    d->Answer(event.request, status);
    return;
  }
  d->Emit(domain::SweepAdmitted{event.proposed_id, event.idempotency_key, event.spec});
  d->Answer(event.request, absl::OkStatus(), event.proposed_id.value());
  d->AskForPlacement();
}

void On(Decider* d, const domain::RetryRun& event) {
  const Run* run = d->state().FindRun(event.run);
  if (run == nullptr) {
    d->Answer(event.request, absl::NotFoundError(StrCat("no run ", event.run.value())));
    return;
  }
  if (!IsFinal(run->state)) {
    d->Answer(event.request, absl::FailedPreconditionError(
                                 StrCat("run ", run->id.value(), " is ", ToString(run->state), "; only a run that ended can be retried")));
    return;
  }
  if (!run->next.empty()) {
    d->Answer(event.request,
              absl::AlreadyExistsError(StrCat("run ", run->id.value(), " was retried already, as ", run->next.value())),
              run->next.value());
    return;
  }
  const RunId next = domain::MakeRunId(run->sweep, run->spec->cell, run->generation + 1);
  // The run that a rescue stems from was retried and rescued again: that rescue is the next generation.
  if (d->state().FindRun(next) != nullptr) {
    d->Answer(event.request, absl::AlreadyExistsError(StrCat("run ", run->id.value(), " was followed already, by ", next.value())), next.value());
    return;
  }
  if (const std::string gone = WhyForkIsGone(d->state(), *run); !gone.empty()) {
    d->Answer(event.request, absl::FailedPreconditionError(gone));
    return;
  }
  d->Emit(domain::RunRetried{event.run, next, event.by});
  d->Answer(event.request, absl::OkStatus(), next.value());
  d->AskForPlacement();
}

}  // namespace entrain::core
