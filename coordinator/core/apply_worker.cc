// Apply for workers and leases.
#include <algorithm>

#include "coordinator/core/edit.h"

namespace entrain::core {
namespace {

// A machine came back with another number of slots. An attempt keeps what it held there, also where slots are gone for now and come
// back later.
void Resize(const State& state, Worker* worker) {
  worker->slots.assign(static_cast<std::size_t>(worker->info.slots), domain::AttemptKey{});
  for (const auto& [key, attempt] : state.attempts) {
    if (std::count(attempt->holds.begin(), attempt->holds.end(), worker->info.id) == 0) continue;
    for (const domain::GangMember& member : attempt->gang.members) {
      if (member.worker != worker->info.id) continue;
      for (const std::int32_t slot : member.slots) {
        if (slot < worker->info.slots) worker->slots[static_cast<std::size_t>(slot)] = key;
      }
    }
  }
}

}  // namespace


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
  if (worker.slots.size() != static_cast<std::size_t>(fact.info.slots)) Resize(*state, &worker);
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

void ApplyBody(State* state, const Stamp& stamp, const domain::TermStarted&) {
  state->term_started_ms = stamp.at_ms;
  state->index.queue.RestartAges();
}

void ApplyBody(State* state, const Stamp&, const domain::WorkerQuarantined& fact) {
  EditWorker(state, fact.worker, [&](Worker* worker) {
    worker->quarantined = true;
    worker->quarantined_until_ms = fact.until_ms;
    worker->quarantine_reason = fact.reason;
    worker->strikes.clear();
  });
}

void ApplyBody(State* state, const Stamp&, const domain::WorkerReleased& fact) {
  EditWorker(state, fact.worker, [](Worker* worker) {
    worker->quarantined = false;
    worker->quarantined_until_ms = 0;
    worker->quarantine_reason.clear();
    worker->strikes.clear();
  });
}

void ApplyBody(State* state, const Stamp&, const domain::WorkerForgotten& fact) { RemoveWorker(state, fact.worker); }

}  // namespace entrain::core
