// Early stopping: successive halving over the runs of a sweep. A rung's table holds what its runs reported; the best
// 1/reduction_factor of them go on, the others wait at a checkpoint, and once nobody can report at the rung any more they are pruned.
// Retried runs (generation 2 and later) train to their end and are in no table.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/strings.h"
#include "coordinator/core/decider.h"

namespace entrain::core {
namespace {

using domain::Halving;
using domain::RungOutcome;
using domain::RunState;
using domain::StopKind;

// First generations, in the sweep's order, without rescues: those did not begin at the first step.
std::vector<RunId> FirstGenerations(const State& state, const Sweep& sweep) {
  std::vector<RunId> runs;
  for (const RunId& newest : *sweep.runs) {
    const Run* run = state.FindRun(newest);
    if (!run->rescue_of.empty()) continue;
    runs.push_back(run->generation == 1 ? newest : domain::MakeRunId(sweep.id, run->spec->cell, 1));
  }
  return runs;
}

struct Entry {
  RunId run;
  double value = 0.0;
  std::uint64_t number = 0;
};
bool BetterEntry(const Entry& a, const Entry& b) {
  if (std::isnan(a.value) != std::isnan(b.value)) return std::isnan(b.value);
  if (a.value != b.value && !std::isnan(a.value)) return a.value < b.value;
  return a.number < b.number;
}

struct Table {
  std::vector<Entry> entries;    // best first
  std::int64_t missing = 0;      // unfinished runs that may still report
  std::size_t allowance = 0;     // so many of the best go on
};

Table TableOf(const State& state, const domain::EarlyStopping& rule, const std::vector<RunId>& runs, std::size_t rung) {
  Table table;
  for (const RunId& id : runs) {
    const Run& run = *state.FindRun(id);
    if (run.rungs.size() > rung) {
      table.entries.push_back({id, run.rungs[rung].value, run.number});
    } else if (!domain::IsFinal(run.state) && domain::RungSteps(rule, run.spec->steps).size() > rung) {
      ++table.missing;
    }
  }
  std::sort(table.entries.begin(), table.entries.end(), BetterEntry);
  const bool complete = table.missing == 0;
  table.allowance = table.entries.size() / static_cast<std::size_t>(rule.reduction_factor);
  // The best of a rung that nobody else can reach always goes on: some run of the sweep trains to its end.
  if (complete) table.allowance = std::max<std::size_t>(1, table.allowance);
  if (!complete && rule.method == Halving::kSync) table.allowance = 0;
  return table;
}

// "eval_loss 3.2100 (perplexity 24.8) at step 300, 2 of 7".
std::string PlaceText(const domain::EarlyStopping& rule, const domain::Rung& rung, std::size_t place, std::size_t of) {
  char perplexity[40] = "";
  if (std::isfinite(rung.value)) std::snprintf(perplexity, sizeof perplexity, " (perplexity %.4g)", std::exp(rung.value));
  char value[40];
  std::snprintf(value, sizeof value, "%.4f", rung.value);
  return StrCat(ToString(rule.metric), " ", value, perplexity, " at step ", rung.step, ", place ", place, " of ", of);
}

// Stops it on its way, or keeps it where it is; one that has completed is not held up.
void PutOnHold(Decider* d, const RunId& id, const std::string& reason) {
  const Run run = *d->state().FindRun(id);
  if (run.state == RunState::kQueued) {
    AbandonCurrentAttempt(d, id, reason);
    d->Emit(domain::RunPaused{id, reason, true});
    d->AskForPlacement();
    return;
  }
  const bool moves = run.state == RunState::kStarting || run.state == RunState::kRunning;
  const bool returns = run.state == RunState::kStopping && run.stop->kind == StopKind::kPreempt;
  if (run.current != nullptr && (moves || returns)) StopGang(d, run, StopKind::kRung, reason);
}

void LetGoOn(Decider* d, const RunId& id, const std::string& reason) {
  const Run run = *d->state().FindRun(id);
  d->AskForPlacement();
  if (run.state == RunState::kPaused && run.paused_at_rung) {
    d->Emit(domain::RunResumed{id, "early stopping"});
  } else if (run.state == RunState::kStopping && run.stop->kind == StopKind::kRung && run.current != nullptr) {
    // It is still on its way to the checkpoint, and goes back to the queue from there.
    StopGang(d, run, StopKind::kPreempt, reason);
  }
}

class Halver {
 public:
  Halver(Decider* d, const Sweep& sweep) : d_(d), rule_(sweep.spec->early_stopping), runs_(FirstGenerations(d->state(), sweep)) {}

  void Decide() {
    std::size_t rungs = 0;
    for (const RunId& id : runs_) rungs = std::max(rungs, d_->state().FindRun(id)->rungs.size());
    // Upwards: what is pruned at a rung need not be awaited at the next.
    for (std::size_t rung = 0; rung < rungs; ++rung) DecideRung(rung);
  }

 private:
  void DecideRung(std::size_t rung) {
    const Table table = TableOf(d_->state(), rule_, runs_, rung);
    for (std::size_t place = 0; place < table.entries.size(); ++place) {
      const RunId& id = table.entries[place].run;
      const Run& run = *d_->state().FindRun(id);
      const RungOutcome outcome = run.rungs[rung].outcome;
      const bool here = run.rungs.size() == rung + 1 && (outcome == RungOutcome::kNone || outcome == RungOutcome::kHeld);
      if (!here || domain::IsFinal(run.state) || run.pending_end.has_value()) continue;
      DecideOn(id, rung, table, place);
    }
  }

  void DecideOn(const RunId& id, std::size_t rung, const Table& table, std::size_t place) {
    const Run run = *d_->state().FindRun(id);
    const std::string at = StrCat("rung ", rung, ": ", PlaceText(rule_, run.rungs[rung], place + 1, table.entries.size()));
    const std::string best = StrCat("the best ", table.allowance, table.allowance == 1 ? " goes on" : " go on");
    const auto say = [&](RungOutcome outcome, const std::string& reason) {
      d_->Emit(domain::RungDecided{id, static_cast<std::int64_t>(rung), outcome, reason});
    };
    if (place < table.allowance) {
      const std::string reason = StrCat("promoted at ", at, "; ", best);
      say(RungOutcome::kPromoted, reason);
      LetGoOn(d_, id, reason);
    } else if (table.missing == 0 && run.state == RunState::kPaused) {
      const std::string reason = StrCat("pruned at ", at, "; ", best);
      say(RungOutcome::kPruned, reason);
      FinishPruned(d_, id, reason);
    } else if (!run.held) {
      const std::string others = table.missing == 0 ? "" : StrCat(" so far, ", table.missing, table.missing == 1 ? " run" : " runs", " may still come");
      const std::string reason = StrCat("held at ", at, others, "; ", best);
      say(RungOutcome::kHeld, reason);
      PutOnHold(d_, id, reason);
    }
  }

  Decider* const d_;
  const domain::EarlyStopping rule_;
  const std::vector<RunId> runs_;
};

// The run whose fact may change a rung's table or needs a hold enforced; nullptr: none.
const RunId* RungRunOf(const domain::Fact& fact) {
  if (const auto* recorded = std::get_if<domain::RungRecorded>(&fact.body)) return &recorded->run;
  if (const auto* finished = std::get_if<domain::RunFinished>(&fact.body)) return &finished->run;
  if (const auto* paused = std::get_if<domain::RunPaused>(&fact.body)) return &paused->run;
  return nullptr;
}

// A held run that something else sent back to the queue (a crash, a lost machine) waits at its rung all the same.
void KeepHolds(Decider* d, std::size_t from) {
  std::vector<RunId> requeued;
  for (std::size_t i = from; i < d->facts().size(); ++i) {
    if (const auto* fact = std::get_if<domain::RunRequeued>(&d->facts()[i].body)) requeued.push_back(fact->run);
    if (const auto* fact = std::get_if<domain::AttemptReclaimed>(&d->facts()[i].body)) requeued.push_back(fact->key.run);
  }
  for (const RunId& id : requeued) {
    const Run& run = *d->state().FindRun(id);
    if (run.held) PutOnHold(d, id, run.rungs.back().reason);
  }
}

}  // namespace

void DecideRungs(Decider* d) {
  for (std::size_t looked_at = 0; looked_at < d->facts().size();) {
    const std::size_t from = looked_at;
    std::set<SweepId> sweeps;
    for (; looked_at < d->facts().size(); ++looked_at) {
      const RunId* id = RungRunOf(d->facts()[looked_at]);
      if (id == nullptr) continue;
      const SweepId& sweep = d->state().FindRun(*id)->sweep;
      if (d->state().FindSweep(sweep)->spec->early_stopping.method != Halving::kNone) sweeps.insert(sweep);
    }
    KeepHolds(d, from);
    for (const SweepId& sweep : sweeps) Halver(d, Sweep(*d->state().FindSweep(sweep))).Decide();
  }
}

void ResumeFromRung(Decider* d, const Run& run, const std::string& by) {
  if (run.state == RunState::kPaused && !run.paused_at_rung) {
    // Paused by people too: now it waits at its rung alone.
    d->Emit(domain::RunPaused{run.id, run.rungs.back().reason, true});
    return;
  }
  if (run.state != RunState::kPaused && !(run.state == RunState::kStopping && run.stop->kind == StopKind::kRung)) return;
  const auto rung = static_cast<std::int64_t>(run.rungs.size()) - 1;
  const std::string reason = StrCat("promoted at rung ", rung, " by ", by);
  d->Emit(domain::RungDecided{run.id, rung, RungOutcome::kPromoted, reason});
  LetGoOn(d, run.id, reason);
}

void On(Decider* d, const domain::RungReached& event) {
  if (!IsCurrent(d->state(), event.key)) return;
  const Run& run = *d->state().FindRun(event.key.run);
  const bool next = event.rung == static_cast<std::int64_t>(run.rungs.size());
  if (domain::IsFinal(run.state) || run.generation != 1 || !next || event.step < 1) return;
  // Trained past its rung by chance, while the stop was on its way: if it goes on, the lane says it again.
  if (run.held) return;
  const domain::EarlyStopping& rule = d->state().FindSweep(run.sweep)->spec->early_stopping;
  if (event.rung >= static_cast<std::int64_t>(domain::RungSteps(rule, run.spec->steps).size())) return;
  d->Emit(domain::RungRecorded{run.id, event.rung, event.step, event.value});
}

}  // namespace entrain::core
