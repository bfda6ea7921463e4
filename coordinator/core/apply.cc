// Apply for sweeps, runs and attempts. It records what was decided and never decides.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/strings.h"
#include "coordinator/core/core.h"
#include "coordinator/core/edit.h"
#include "domain/failure_rules.h"

namespace entrain::core {
namespace {

using domain::RunState;

constexpr std::size_t kMaxStrikesKept = 16;

template <typename T>
void KeepNewest(std::vector<T>* items, std::size_t limit) {
  if (items->size() > limit) items->erase(items->begin(), items->end() - static_cast<std::ptrdiff_t>(limit));
}

// The newest, and the one that the newest calls the best so far: what `entrain fetch --best` brings must not fall out.
void KeepNewestAndBest(std::vector<domain::Checkpoint>* checkpoints, std::size_t limit) {
  if (checkpoints->size() <= limit) return;
  const auto is_best = [best_step = checkpoints->back().best_step](const auto& checkpoint) { return checkpoint.step == best_step; };
  const auto newest = checkpoints->end() - static_cast<std::ptrdiff_t>(limit);
  auto kept = checkpoints->begin();
  const auto best = std::find_if(std::make_reverse_iterator(newest), checkpoints->rend(), is_best);
  if (best != checkpoints->rend() && std::none_of(newest, checkpoints->end(), is_best)) *kept++ = *best;
  checkpoints->erase(kept, newest);
}

Run NewRun(const Sweep& sweep, std::int64_t index, std::int64_t generation,
                            std::shared_ptr<const domain::RunSpec> spec, std::uint64_t number, const Stamp& stamp) {
  Run run;
  run.id = domain::MakeRunId(sweep.id, spec->cell, generation);
  run.sweep = sweep.id;
  run.number = number;
  run.index = index;
  run.generation = generation;
  run.priority = sweep.spec->priority;
  run.owner = sweep.spec->owner;
  run.spec = std::move(spec);
  run.created_wall_ms = stamp.wall_ms;
  return run;
}

// "attempt 2 on host7 slots 0, 1 from step 100".
std::string PlacementText(const State& state, const domain::RunPlaced& fact) {
  std::string text = StrCat("attempt ", fact.key.attempt);
  for (const domain::GangMember& member : fact.gang.members) {
    const Worker* worker = state.FindWorker(member.worker);
    StrAppend(&text, &member == &fact.gang.members.front() ? " on " : " and ", worker->info.name,
              member.slots.size() == 1 ? " slot " : " slots ");
    for (std::size_t i = 0; i < member.slots.size(); ++i) StrAppend(&text, i == 0 ? "" : ", ", member.slots[i]);
  }
  return StrCat(text, " from step ", fact.resume_from.step);
}

std::string EndText(const domain::AttemptClosed& fact) {
  std::string text = StrCat("attempt ", fact.key.attempt, ": ", ToString(fact.end.cause), " at step ", fact.end.last_step);
  if (!fact.end.message.empty()) StrAppend(&text, ": ", fact.end.message);
  return text;
}

// Whether the run failed the same way on another machine before: then it is the run's fault.
bool FailedElsewhere(const Run& run, const Attempt& attempt) {
  return std::any_of(run.past.begin(), run.past.end(), [&](const auto& past) {
    return past->end.has_value() && past->end->cause == attempt.end->cause &&
           past->gang.members.front().worker != attempt.gang.members.front().worker;
  });
}

// What the end of an attempt says about its machine. Of a gang on several machines nobody knows which one it was.
void NoteStrike(State* state, const Attempt& attempt) {
  const domain::EndCause cause = attempt.end->cause;
  const bool says_nothing = cause == domain::EndCause::kMachineLost || cause == domain::EndCause::kFenced || cause == domain::EndCause::kStopped;
  if (says_nothing || attempt.gang.members.size() != 1) return;
  const WorkerId& worker = attempt.gang.members.front().worker;
  const bool strikes = domain::RuleOf(domain::ClassOf(cause)).strikes_machine;
  if (!strikes && state->FindWorker(worker)->strikes.empty()) return;
  if (strikes && FailedElsewhere(*state->FindRun(attempt.key.run), attempt)) return;
  EditWorker(state, worker, [&](Worker* w) {
    if (!strikes) {
      w->strikes.clear();
    } else {
      w->strikes.push_back(attempt.key.run);
      KeepNewest(&w->strikes, kMaxStrikesKept);
    }
  });
}

}  // namespace

void Apply(State* state, const domain::Fact& fact) {
  const Stamp stamp{fact.at_ms, fact.wall_ms};
  state->at_ms = std::max(state->at_ms, fact.at_ms);
  state->wall_ms = fact.wall_ms;
  state->index.queue.SetNow(state->at_ms);
  std::visit([&](const auto& body) { ApplyBody(state, stamp, body); }, fact.body);
}

void ApplyBody(State* state, const Stamp& stamp, const domain::SweepAdmitted& fact) {
  Sweep sweep;
  sweep.id = fact.sweep;
  sweep.number = ++state->counters.sweeps;
  sweep.idempotency_key = fact.idempotency_key;
  sweep.content_hash = ContentHash(fact.spec);
  sweep.created_wall_ms = stamp.wall_ms;
  sweep.unfinished_runs = static_cast<std::int64_t>(fact.spec.runs.size());
  auto spec = std::make_shared<domain::SweepSpec>();
  spec->name = fact.spec.name;
  spec->owner = fact.spec.owner;
  spec->yaml = fact.spec.yaml;
  spec->priority = fact.spec.priority;
  spec->max_concurrent_runs = fact.spec.max_concurrent_runs;
  spec->early_stopping = fact.spec.early_stopping;
  sweep.spec = spec;
  state->index.queue.SetCap(fact.sweep, spec->max_concurrent_runs);

  auto runs = std::make_shared<std::vector<RunId>>();
  for (std::size_t i = 0; i < fact.spec.runs.size(); ++i) {
    Run run = NewRun(sweep, static_cast<std::int64_t>(i), 1, std::make_shared<const domain::RunSpec>(fact.spec.runs[i]),
                     ++state->counters.runs, stamp);
    AddHistory(&run, state->config, stamp, "queued", StrCat("submitted by ", spec->owner));
    runs->push_back(run.id);
    AddRun(state, std::move(run));
  }
  sweep.runs = runs;
  state->sweeps_by_key.Set(SweepKey(spec->owner, fact.idempotency_key), fact.sweep);
  state->sweeps_by_number.Set(sweep.number, fact.sweep);
  state->sweeps.Set(fact.sweep, scheduler::CopyOnWrite<Sweep>(std::move(sweep)));
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunRetried& fact) {
  const Run previous = *state->FindRun(fact.previous);
  const std::string reason = StrCat("retry of ", fact.previous.value(), ", asked by ", fact.by);
  Run run = NewRun(*state->FindSweep(previous.sweep), previous.index, previous.generation + 1, previous.spec,
                   ++state->counters.runs, stamp);
  ENTRAIN_CHECK(run.id == fact.run);
  run.previous = fact.previous;
  run.rescue_of = previous.rescue_of;
  run.fork = previous.fork;
  run.reason = reason;
  AddHistory(&run, state->config, stamp, "queued", reason);
  AddRun(state, std::move(run));
  EditRun(state, fact.previous, [&](Run* r) {
    r->next = fact.run;
    AddHistory(r, state->config, stamp, "retried", StrCat("as ", fact.run.value(), ", asked by ", fact.by));
  });
  EditSweep(state, previous.sweep, [&](Sweep* sweep) {
    auto runs = std::make_shared<std::vector<RunId>>(*sweep->runs);
    runs->at(static_cast<std::size_t>(previous.index)) = fact.run;
    sweep->runs = std::move(runs);
    ++sweep->unfinished_runs;
    sweep->released_wall_ms = 0;
    sweep->released_by.clear();
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunPlaced& fact) {
  Attempt attempt;
  attempt.key = fact.key;
  attempt.gang = fact.gang;
  attempt.resume_from = fact.resume_from;
  attempt.placed_wall_ms = stamp.wall_ms;
  for (const domain::GangMember& member : fact.gang.members) attempt.holds.push_back(member.worker);
  const std::string text = PlacementText(*state, fact);
  const auto placed = std::make_shared<const Attempt>(std::move(attempt));
  HoldSlots(state, *placed);
  state->attempts.Set(fact.key, placed);
  EditRun(state, fact.key.run, [&](Run* run) {
    run->state = RunState::kStarting;
    run->paused_at_rung = false;
    run->attempt = fact.key.attempt;
    run->current = placed;
    run->wait.reset();
    run->aged = false;
    run->reserved.clear();
    run->reason = text;
    AddHistory(run, state->config, stamp, "placed", text);
  });
  ++state->counters.placements;
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunStarted& fact) {
  Attempt attempt = *state->FindAttempt(fact.key);
  attempt.started = true;
  attempt.started_wall_ms = stamp.wall_ms;
  attempt.started_ms = stamp.at_ms;
  PutAttempt(state, std::move(attempt));
  EditRun(state, fact.key.run, [&](Run* run) {
    run->state = RunState::kRunning;
    run->reason.clear();
    if (run->started_wall_ms == 0) run->started_wall_ms = stamp.wall_ms;
    AddHistory(run, state->config, stamp, "running", StrCat("attempt ", fact.key.attempt, ": every rank is up"));
  });
}

void ApplyBody(State* state, const Stamp&, const domain::CheckpointRecorded& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->checkpoints.push_back(fact.checkpoint);
    KeepNewestAndBest(&run->checkpoints, state->config.max_checkpoints_kept);
    run->lost_in_a_row = 0;
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::StopDecided& fact) {
  EditRun(state, fact.key.run, [&](Run* run) {
    run->state = RunState::kStopping;
    run->stop = Stop{fact.kind, fact.reason};
    run->reason = fact.reason;
    AddHistory(run, state->config, stamp, "stopping", fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::VerdictRecorded& fact) {
  ++state->counters.verdicts;
  EditRun(state, fact.run, [&](Run* run) {
    if (domain::EndsRun(fact.verdict.action)) {
      run->verdict = fact.verdict;
    } else {
      run->notices.push_back(fact.verdict);
      KeepNewest(&run->notices, state->config.max_notices_kept);
    }
    AddHistory(run, state->config, stamp, fact.verdict.action == domain::RuleAction::kNotify ? "notice" : "verdict", fact.verdict.explanation);
  });
}

// The rescue is one run more in its sweep: the halted one keeps its place and its result.
void ApplyBody(State* state, const Stamp& stamp, const domain::RunRescued& fact) {
  const Run halted = *state->FindRun(fact.previous);
  const std::string from = fact.from.path.empty() ? std::string("the start") : StrCat("step ", fact.from.step);
  const std::string reason = StrCat("rescue of ", fact.previous.value(), " from ", from);
  const auto index = static_cast<std::int64_t>(state->FindSweep(halted.sweep)->runs->size());
  Run run = NewRun(*state->FindSweep(halted.sweep), index, halted.generation,
                   std::make_shared<const domain::RunSpec>(halted.spec->rescue.front()), ++state->counters.runs, stamp);
  ENTRAIN_CHECK(run.id == fact.run);
  run.rescue_of = fact.previous;
  run.fork = fact.from;
  run.reason = reason;
  AddHistory(&run, state->config, stamp, "queued", reason);
  AddRun(state, std::move(run));
  EditRun(state, fact.previous, [&](Run* r) {
    r->rescued_by = fact.run;
    AddHistory(r, state->config, stamp, "rescued", StrCat("as ", fact.run.value(), ", from ", from));
  });
  EditSweep(state, halted.sweep, [&](Sweep* sweep) {
    auto runs = std::make_shared<std::vector<RunId>>(*sweep->runs);
    runs->push_back(fact.run);
    sweep->runs = std::move(runs);
    ++sweep->unfinished_runs;
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::AttemptClosed& fact) {
  Attempt attempt = *state->FindAttempt(fact.key);
  attempt.end = fact.end;
  attempt.closed_wall_ms = stamp.wall_ms;
  const auto closed = std::make_shared<const Attempt>(std::move(attempt));
  std::vector<WorkerId> still_held;
  for (const WorkerId& worker : closed->holds) {
    if (fact.end.cause == domain::EndCause::kMachineLost || state->FindWorker(worker)->silent) {
      still_held.push_back(worker);
    } else {
      FreeSlots(state, fact.key, worker);
    }
  }
  if (still_held.empty()) {
    state->attempts.Erase(fact.key);
  } else {
    Attempt holding = *closed;
    holding.holds = std::move(still_held);
    state->attempts.Set(fact.key, std::make_shared<const Attempt>(std::move(holding)));
  }
  NoteStrike(state, *closed);
  EditRun(state, fact.key.run, [&](Run* run) {
    if (closed->started && run->spec->limits.max_duration_s > 0) run->ran_ms += stamp.at_ms - closed->started_ms;
    run->current.reset();
    run->past.push_back(closed);
    KeepNewest(&run->past, state->config.max_attempts_kept);
    if (fact.end.cause == domain::EndCause::kCompleted || fact.end.cause == domain::EndCause::kNonFinite) {
      run->pending_end = fact.end;
      run->reason = "its last samples are being judged";
    }
    AddHistory(run, state->config, stamp, "attempt ended", EndText(fact));
  });
}

void ApplyBody(State* state, const Stamp&, const domain::MemberReleased& fact) { ReleaseSlots(state, fact.key, fact.worker); }

void ApplyBody(State* state, const Stamp& stamp, const domain::AttemptReclaimed& fact) {
  EditRun(state, fact.key.run, [&](Run* run) {
    run->state = run->current->started ? RunState::kRunning : RunState::kStarting;
    run->wait.reset();
    run->aged = false;
    run->reserved.clear();
    run->not_before_ms = 0;
    run->reason = StrCat("its machine came back with attempt ", fact.key.attempt);
    AddHistory(run, state->config, stamp, "reclaimed", run->reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunRequeued& fact) {
  ++state->counters.requeues;
  EditRun(state, fact.run, [&](Run* run) {
    run->state = RunState::kQueued;
    run->failure = fact.failure;
    run->reason = fact.reason;
    run->not_before_ms = fact.not_before_ms;
    run->stop.reset();
    run->pending_end.reset();
    run->wait.reset();
    if (fact.counts_as_failure) {
      ++run->failures;
    } else {
      ++run->lost_in_a_row;
    }
    AddHistory(run, state->config, stamp, "queued again", fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunPaused& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->state = RunState::kPaused;
    run->reason = fact.reason;
    run->paused_at_rung = fact.at_rung;
    run->aged = false;
    run->reserved.clear();
    run->stop.reset();
    run->pending_end.reset();
    run->wait.reset();
    run->not_before_ms = 0;
    AddHistory(run, state->config, stamp, "paused", fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunResumed& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->state = RunState::kQueued;
    run->paused_at_rung = false;
    run->reason = StrCat("resumed by ", fact.by);
    AddHistory(run, state->config, stamp, "queued", run->reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunFinished& fact) {
  ++state->counters.finished;
  EditRun(state, fact.run, [&](Run* run) {
    run->state = fact.state;
    run->halt_reason = fact.halt_reason;
    run->failure = fact.failure;
    run->reason = fact.reason;
    run->result_step = fact.result_step;
    run->fully_judged = fact.fully_judged;
    run->held = false;
    run->paused_at_rung = false;
    run->aged = false;
    run->reserved.clear();
    run->finished_wall_ms = stamp.wall_ms;
    run->stop.reset();
    run->pending_end.reset();
    run->wait.reset();
    run->not_before_ms = 0;
    AddHistory(run, state->config, stamp, std::string(ToString(fact.state)), fact.reason);
  });
  EditSweep(state, state->FindRun(fact.run)->sweep, [](Sweep* sweep) { --sweep->unfinished_runs; });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::WaitReasonChanged& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->wait = Wait{fact.never, fact.reason};
    // The reason changes when a pause after a failure is over, and the run joins the queue.
    if (run->not_before_ms != 0 && stamp.at_ms >= run->not_before_ms) run->not_before_ms = 0;
    AddHistory(run, state->config, stamp, "waiting", fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunAged& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->aged = true;
    AddHistory(run, state->config, stamp, "aged", fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RunReserved& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->aged = true;
    run->reserved = fact.workers;
    AddHistory(run, state->config, stamp, "reserved", fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RungRecorded& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    run->rungs.resize(static_cast<std::size_t>(fact.rung) + 1);
    run->rungs.back() = {.step = fact.step, .value = fact.value, .outcome = domain::RungOutcome::kNone, .reason = ""};
    AddHistory(run, state->config, stamp, "rung", StrCat("reached rung ", fact.rung, " at step ", fact.step, " with ", fact.value));
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::RungDecided& fact) {
  EditRun(state, fact.run, [&](Run* run) {
    domain::Rung& rung = run->rungs.at(static_cast<std::size_t>(fact.rung));
    rung.outcome = fact.outcome;
    rung.reason = fact.reason;
    run->held = fact.outcome == domain::RungOutcome::kHeld;
    AddHistory(run, state->config, stamp, ToString(fact.outcome), fact.reason);
  });
}

void ApplyBody(State* state, const Stamp& stamp, const domain::ProgressHeard& fact) { HearProgress(state, fact.run, stamp.at_ms); }

}  // namespace entrain::core
