// Machines on which launches or devices fail again and again get nothing new for a while.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "coordinator/core/decider.h"

namespace entrain::core {
namespace {

// A fault that half of all machines show is not a machine's.
bool MayQuarantineOneMore(const State& state) {
  std::size_t quarantined = 1;
  for (const auto& [id, worker] : state.workers) quarantined += worker->quarantined ? 1 : 0;
  return 2 * quarantined <= state.workers.size();
}

void Release(Decider* d, const WorkerId& worker, const std::string& reason) {
  d->Emit(domain::WorkerReleased{worker, reason});
  d->AskForPlacement();
}

}  // namespace

void QuarantineIfStruck(Decider* d, const WorkerId& id) {
  const CoreConfig& config = d->config();
  const Worker& worker = *d->state().FindWorker(id);
  if (config.quarantine_after <= 0 || worker.quarantined) return;
  if (static_cast<std::int64_t>(worker.strikes.size()) < config.quarantine_after) return;
  const std::set<RunId> runs(worker.strikes.begin(), worker.strikes.end());
  if (runs.size() < 2 || !MayQuarantineOneMore(d->state())) return;
  d->Emit(domain::WorkerQuarantined{id,
                                    StrCat(worker.strikes.size(), " launch or device failures in a row, of ", runs.size(), " runs"),
                                    d->at_ms() + config.quarantine_ms});
  d->AskForPlacement();
}

void ReleaseQuarantined(Decider* d) {
  std::vector<WorkerId> due;
  for (const auto& [ends, present] : d->state().quarantines) {
    if (ends.first > d->at_ms()) break;
    due.push_back(ends.second);
  }
  for (const WorkerId& worker : due) Release(d, worker, "its quarantine is over");
}

void On(Decider* d, const domain::ActOnWorker& event) {
  const Worker* worker = d->state().FindWorker(event.worker);
  if (worker == nullptr) {
    d->Answer(event.request, absl::NotFoundError(StrCat("no worker ", event.worker.value())));
    return;
  }
  const std::string by = event.by.empty() ? "someone unnamed" : event.by;
  absl::Status status;
  switch (event.action) {
    case domain::WorkerAction::kQuarantine:
      d->Emit(domain::WorkerQuarantined{event.worker, StrCat("by ", by, event.reason.empty() ? "" : StrCat(": ", event.reason)), 0});
      break;
    case domain::WorkerAction::kRelease:
      if (worker->quarantined) Release(d, event.worker, StrCat("released by ", by));
      break;
    case domain::WorkerAction::kForget: status = ForgetWorker(d, event.worker, by); break;
    case domain::WorkerAction::kGone: status = RetireWorker(d, event.worker, by); break;
  }
  d->Answer(event.request, status, event.worker.value());
  d->AskForPlacement();
}

}  // namespace entrain::core
