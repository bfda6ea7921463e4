// Apply for workers and leases.
#include "coordinator/core/edit.h"

namespace entrain::core {

void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerRegistered& fact) {
  Worker worker;
  if (const Worker* known = state->FindWorker(fact.info.id)) {
    worker = *known;
  } else {
    worker.registered_wall_ms = stamp.wall_ms;
  }
  worker.info = fact.info;
  worker.incarnation = fact.incarnation;
  worker.silent = false;
  // A machine that came back smaller: who held the slots that are gone holds them no more, and is released with the rest.
  worker.slots.resize(static_cast<std::size_t>(fact.info.slots));
  worker.last_heard_ms = stamp.at_ms;
  PutWorker(state, std::move(worker));
}

void ApplyBody(State* state, const Stamp&, const domain::WorkerSilent& fact) {
  ++state->counters.workers_lost;
  EditWorker(state, fact.worker, [](Worker* worker) {
    worker->silent = true;
    worker->connected = false;
  });
}

void ApplyBody(State* state, const Stamp&, const domain::WorkerDraining& fact) {
  EditWorker(state, fact.worker, [&](Worker* worker) { worker->draining = fact.draining; });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::WorkerHeard& fact) {
  EditWorker(state, fact.worker, [&](Worker* worker) {
    worker->connected = fact.connected;
    if (fact.connected) worker->last_heard_ms = stamp.at_ms;
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::TermStarted&) { state->term_started_ms = stamp.at_ms; }

}  // namespace entrain::core
