#include "sim/referee.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <variant>

#include "coordinator/core/edit.h"
#include "coordinator/scheduler/placement.h"
#include "coordinator/scheduler/plan.h"
#include "domain/early_stopping.h"

namespace entrain::sim {
namespace {

using domain::AttemptKey;

// Once nothing fails no attempt trains longer than about 30 s (see script.h), so that the machines kept for the first in line are
// empty by then.
constexpr std::int64_t kTurnLimitMs = 75'000;
// The clock ticks twice a second while the process lives.
constexpr std::int64_t kReleaseLimitMs = 3'000;

// The run that the fact is about; nullptr: none.
const RunId* RunOf(const domain::Fact& fact) {
  return std::visit(
      [](const auto& body) -> const RunId* {
        if constexpr (requires { body.key.run; }) {
          return &body.key.run;
        } else if constexpr (requires { body.run; }) {
          return &body.run;
        } else {
          return nullptr;
        }
      },
      fact.body);
}

// Whom the event was heard from; nullptr: from no worker.
const WorkerId* SpeakerOf(const domain::Event& event) {
  return std::visit(
      [](const auto& body) -> const WorkerId* {
        using Body = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<Body, domain::WorkerDisconnected> || std::is_same_v<Body, domain::ActOnWorker>) {
          return nullptr;
        } else if constexpr (std::is_same_v<Body, domain::WorkerJoined>) {
          return &body.info.id;
        } else if constexpr (requires { body.worker; }) {
          return &body.worker;
        } else {
          return nullptr;
        }
      },
      event.body);
}

}  // namespace

void Referee::Committed(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) {
  for (const domain::Event& event : events) {
    if (const auto* ended = std::get_if<domain::AttemptEnded>(&event.body)) ends_[ended->key].emplace(ended->end.cause, ended->end.last_step);
  }
  std::size_t heard = 0;
  const auto hear_before = [&](std::int64_t at_ms) {
    for (; heard < events.size() && events[heard].at_ms < at_ms; ++heard) {
      if (const WorkerId* speaker = SpeakerOf(events[heard])) heard_ms_[*speaker] = events[heard].at_ms;
    }
  };
  for (const domain::Fact& fact : facts) {
    hear_before(fact.at_ms);
    if (!domain::IsTransient(fact)) Take(fact);
  }
  hear_before(std::numeric_limits<std::int64_t>::max());
}

void Referee::Take(const domain::Fact& fact) {
  const RunId* run = RunOf(fact);
  CheckTransition(run == nullptr ? nullptr : durable_.FindRun(*run), fact);
  const auto* decided = std::get_if<domain::RungDecided>(&fact.body);
  if (decided != nullptr && decided->outcome == domain::RungOutcome::kHeld) held_.insert(decided->run);
  if (const auto* placed = std::get_if<domain::RunPlaced>(&fact.body)) held_.erase(placed->key.run);
  if (const auto* gone = std::get_if<domain::WorkerForgotten>(&fact.body)) forgotten_.insert(gone->worker);
  if (const auto* silent = std::get_if<domain::WorkerSilent>(&fact.body)) CheckSilence(*silent, fact.at_ms);
  if (const auto* closed = std::get_if<domain::AttemptClosed>(&fact.body)) CheckClosed(*closed);
  if (const auto* placed = std::get_if<domain::RunPlaced>(&fact.body)) CheckPeers(*placed);
  core::Apply(&durable_, fact);
}

void Referee::CheckTransition(const core::Run* before, const domain::Fact& fact) {
  if (before == nullptr) return;
  const bool allowed_when_final = std::holds_alternative<domain::MemberReleased>(fact.body) || std::holds_alternative<domain::RunRetried>(fact.body) ||
                                  std::holds_alternative<domain::CheckpointsRetired>(fact.body);
  if (IsFinal(before->state) && !allowed_when_final) {
    stage_->Break("run ", before->id.value(), " is ", ToString(before->state), ", which is final, and yet something was decided about it");
  }
  if (const auto* placed = std::get_if<domain::RunPlaced>(&fact.body)) {
    if (placed->key.attempt != before->attempt + 1) {
      stage_->Break("run ", before->id.value(), " was placed as attempt ", placed->key.attempt, " after attempt ", before->attempt);
    }
    const std::int64_t newest = before->checkpoints.empty() ? before->fork.step : before->checkpoints.back().step;
    if (placed->resume_from.step != newest) {
      stage_->Break("attempt ", placed->key.ToString(), " starts from step ", placed->resume_from.step, ", its newest checkpoint is of ", newest);
    }
  }
  if (const auto* placed = std::get_if<domain::RunPlaced>(&fact.body)) CheckTurnOf(*before, *placed);
  if (const auto* retired = std::get_if<domain::CheckpointsRetired>(&fact.body)) CheckRetired(*before, *retired);
  if (const auto* recorded = std::get_if<domain::VerdictRecorded>(&fact.body)) CheckVerdict(*before, recorded->verdict);
  if (const auto* reserved = std::get_if<domain::RunReserved>(&fact.body)) preempting_ = reserved->run;
  if (const auto* stop = std::get_if<domain::StopDecided>(&fact.body); stop != nullptr && stop->reason.starts_with("preempted")) {
    CheckPreemption(*before, fact.at_ms);
  }
  if (const auto* recorded = std::get_if<domain::CheckpointRecorded>(&fact.body)) {
    if (recorded->checkpoint.attempt != before->attempt) {
      stage_->Break("a checkpoint of attempt ", recorded->checkpoint.attempt, " was accepted for ", before->id.value(), ", whose attempt is ",
                    before->attempt);
    }
  }
}

// Of two waiting runs of the same shape the one that has its turn first is placed first: what fits the other fits it.
void Referee::CheckTurnOf(const core::Run& run, const domain::RunPlaced& placed) {
  const scheduler::Request mine = core::RequestOf(durable_, run);
  for (const auto& [queue_class, waiting] : durable_.index.queue.classes()) {
    // A cap may be taken up by a large gang of the same sweep that goes first.
    if (!queue_class.capped_sweep.empty() || queue_class.shape != mine.shape || queue_class.owner == mine.owner) continue;
    const scheduler::Request& other = *waiting.First().second;
    const auto turn = [](const scheduler::Request& request, std::int64_t slots) {
      return std::tuple(-request.priority, request.aged ? 0 : 1, request.aged ? 0 : slots, request.number);
    };
    const std::int64_t my_slots = SlotsHeldBy(mine.owner);
    const std::int64_t other_slots = SlotsHeldBy(other.owner);
    if (turn(other, other_slots) < turn(mine, my_slots)) {
      stage_->Break("attempt ", placed.key.ToString(), " of ", mine.owner, " (priority ", mine.priority, ", ", my_slots, " slots) was placed before run ",
                    other.run.value(), " of ", other.owner, " (priority ", other.priority, ", ", other_slots, " slots)");
    }
  }
}

void Referee::CheckVerdict(const core::Run& run, const domain::Verdict& verdict) {
  const auto check = [&](const core::Attempt& attempt) {
    if (attempt.key.attempt <= verdict.attempt || attempt.resume_from.step >= verdict.step) return;
    stage_->Break("a verdict on attempt ", verdict.attempt, " of run ", run.id.value(), " at step ", verdict.step, " counted, although attempt ",
                  attempt.key.attempt, " began again from step ", attempt.resume_from.step);
  };
  for (const auto& past : run.past) check(*past);
  if (run.current != nullptr) check(*run.current);
}

void Referee::CheckQuarantines(const core::State& state) {
  for (const auto& [id, worker] : state.workers) {
    if (!worker->quarantined || worker->quarantined_until_ms == 0) continue;
    const std::int64_t over_ms = state.at_ms - std::max(term_ms_, worker->quarantined_until_ms);
    if (over_ms > kReleaseLimitMs) stage_->Break("worker ", id.value(), " is in quarantine ", over_ms, " ms after it was to end");
  }
}

std::int64_t Referee::SlotsHeldBy(const std::string& owner) const {
  std::int64_t slots = 0;
  for (const auto& [id, run] : durable_.runs) {
    if (run->owner == owner && core::IsActive(*run)) slots += run->spec->resources.WorldSize();
  }
  return slots;
}

void Referee::CheckPreemption(const core::Run& victim, std::int64_t at_ms) {
  const core::Run* winner = durable_.FindRun(preempting_);
  if (winner == nullptr || winner->priority <= victim.priority) {
    stage_->Break("run ", victim.id.value(), " of priority ", victim.priority, " was preempted for ", preempting_.value(), ", whose priority is no higher");
    return;
  }
  const std::int64_t ran_ms = victim.current == nullptr || !victim.current->started ? 0 : at_ms - victim.current->started_ms;
  if (ran_ms < config_.min_run_before_preempt_ms) stage_->Break("run ", victim.id.value(), " was preempted after ", ran_ms, " ms");
}

void Referee::CheckSilence(const domain::WorkerSilent& fact, std::int64_t at_ms) {
  const auto heard = heard_ms_.find(fact.worker);
  const std::int64_t counts_from_ms = std::max(term_ms_, heard == heard_ms_.end() ? 0 : heard->second);
  if (at_ms - counts_from_ms < config_.lease_ms) {
    stage_->Break("worker ", fact.worker.value(), " was given up ", at_ms - counts_from_ms, " ms after it was heard; its lease is ", config_.lease_ms, " ms");
  }
}

void Referee::CheckClosed(const domain::AttemptClosed& fact) {
  // What became of one whose machine is gone nobody said.
  const core::Attempt* attempt = durable_.FindAttempt(fact.key);
  if (fact.end.cause == domain::EndCause::kMachineLost || attempt == nullptr) return;
  const bool never_up = fact.end.cause == domain::EndCause::kStopped && !attempt->started;
  if (never_up || ends_[fact.key].contains({fact.end.cause, fact.end.last_step})) return;
  stage_->Break("attempt ", fact.key.ToString(), " was closed as ", ToString(fact.end.cause), " at step ", fact.end.last_step,
                ", which nobody said of it");
}

void Referee::CheckPeers(const domain::RunPlaced& fact) {
  for (const domain::GangMember& member : fact.gang.members) {
    if (fact.gang.members.size() == 1 || !durable_.FindWorker(member.worker)->info.peer_address.empty()) continue;
    stage_->Break("attempt ", fact.key.ToString(), " lies on several machines, of which the others do not reach ", member.worker.value());
  }
}

// Of a run that may still train: what it goes on from. Of one that has ended, while its sweep is not released: its last. Whatever a living
// run forked off from.
void Referee::CheckRetired(const core::Run& run, const domain::CheckpointsRetired& fact) {
  const bool released = durable_.FindSweep(run.sweep)->released_wall_ms != 0;
  for (const domain::Checkpoint& gone : fact.checkpoints) {
    if (gone == run.checkpoints.back() && !(IsFinal(run.state) && released)) {
      stage_->Break("the newest checkpoint of run ", run.id.value(), ", of step ", gone.step, ", was retired, and it is ", ToString(run.state));
    }
    if (!IsFinal(run.state) && run.current != nullptr && run.current->resume_from.path == gone.path) {
      stage_->Break("the checkpoint that attempt ", run.current->key.ToString(), " starts from was retired");
    }
    for (const auto& [id, other] : durable_.runs) {
      if (IsFinal(other->state) || gone.path.empty() || other->fork.path != gone.path) continue;
      stage_->Break("run ", id.value(), " goes on from step ", gone.step, " of run ", run.id.value(), ", whose checkpoint was retired");
    }
  }
}

void Referee::LaneSaid(const decltype(domain::Event::body)& body) {
  if (const auto* verdict = std::get_if<domain::VerdictReached>(&body); verdict != nullptr && domain::EndsRun(verdict->verdict.action)) {
    verdicts_[verdict->run] = verdict->verdict.attempt;
  }
  const auto* judged = std::get_if<domain::RunJudged>(&body);
  if (judged == nullptr) return;
  const auto known = verdicts_.find(judged->key.run);
  if (known == verdicts_.end() || known->second != judged->key.attempt) return;
  stage_->Break("attempt ", judged->key.ToString(), " is said to be judged without a verdict, and there was one");
}

void Referee::Recovered(const core::State& state, std::int64_t at_ms) {
  term_ms_ = at_ms;
  verdicts_.clear();
  first_in_line_ = RunId();
  if (!core::SameStored(durable_, state)) stage_->Break("the recovered state is not what was committed");
  Check(state);
}

void Referee::Check(const core::State& state) {
  const std::vector<std::string> broken = core::BrokenInvariants(state);
  if (!broken.empty()) stage_->Break(broken.front());
  CheckPromises(state);
  CheckGangs(state);
  CheckQuarantines(state);
  if (state.index.queue.size() > 0) {
    const scheduler::Plan plan = scheduler::MakePlan(state.index, 1);
    if (!plan.placements.empty() && state.term_started_ms.has_value()) {
      stage_->Break("run ", plan.placements.front().request.run.value(), " waits although it could start on ",
                    plan.placements.front().gang.members.front().worker.value());
    }
  }
  CheckTurn(state);
}

void Referee::CheckGangs(const core::State& state) {
  for (const auto& [key, attempt] : state.attempts) {
    const core::Run* run = state.FindRun(key.run);
    if (attempt->end.has_value() || run->state == domain::RunState::kQueued) continue;
    for (const domain::GangMember& member : attempt->gang.members) {
      if (!state.FindWorker(member.worker)->silent) continue;
      stage_->Break("run ", key.run.value(), " is ", ToString(run->state), " with a part of its gang on ", member.worker.value(), ", which is silent");
    }
  }
}

void Referee::CheckPromises(const core::State& state) {
  for (const auto& [sweep, content] : promised_) {
    const core::Sweep* found = state.FindSweep(sweep);
    if (found == nullptr || found->content_hash != content) stage_->Break("sweep ", sweep.value(), " was acknowledged and is lost");
  }
}

void Referee::CheckTurn(const core::State& state) {
  RunId first;
  std::optional<scheduler::Turn> best;
  for (const auto& [owner, heads] : state.index.queue.heads()) {
    for (const auto& [rank, head] : heads) {
      if (!scheduler::CouldEverFit(state.index.fleet, head.queue_class.shape)) continue;
      const scheduler::Turn turn = state.index.queue.TurnOf(owner, rank);
      if (best.has_value() && *best < turn) continue;
      best = turn;
      first = state.index.queue.First(head.queue_class)->run;
    }
  }
  if (first != first_in_line_ || stage_->faults()) {
    first_in_line_ = first;
    first_since_ms_ = stage_->now_ms();
  } else if (!first.empty() && stage_->now_ms() - std::max(first_since_ms_, stage_->calm_since_ms()) > kTurnLimitMs) {
    stage_->Break("run ", first.value(), " is first in line for ", kTurnLimitMs / 1000, " s while others run to their end: ", state.FindRun(first)->wait.has_value() ? state.FindRun(first)->wait->reason : "no reason is known");
  }
}

void Referee::Leaves(const domain::Effect& effect) {
  if (const auto* reply = std::get_if<domain::Reply>(&effect)) {
    const bool names_nothing = reply->id.empty() || !reply->status.ok();
    if (!names_nothing && durable_.FindSweep(SweepId(reply->id)) == nullptr && durable_.FindRun(RunId(reply->id)) == nullptr &&
        durable_.FindWorker(WorkerId(reply->id)) == nullptr && !forgotten_.contains(WorkerId(reply->id))) {
      stage_->Break("the answer \"", reply->id, "\" left before what it tells was durable");
    }
  }
  if (const auto* launch = std::get_if<domain::LaunchAttempt>(&effect)) {
    const core::Run* run = durable_.FindRun(launch->key.run);
    if (run == nullptr || run->attempt < launch->key.attempt) stage_->Break("the launch of ", launch->key.ToString(), " left before it was durable");
    const auto [known, is_new] = launched_.emplace(launch->key, launch->gang);
    if (!is_new && !(known->second == launch->gang)) stage_->Break("attempt ", launch->key.ToString(), " was launched with two gangs");
  }
  if (const auto* stop = std::get_if<domain::StopAttempt>(&effect)) {
    const core::Run* run = durable_.FindRun(stop->key.run);
    if (run == nullptr || (run->attempt == stop->key.attempt && run->state != domain::RunState::kStopping && run->current != nullptr)) {
      stage_->Break("the stop of ", stop->key.ToString(), " left before it was durable");
    }
  }
  if (const auto* ack = std::get_if<domain::AcknowledgeReport>(&effect); ack != nullptr && ack->report == 0) stage_->Break("report 0 was acknowledged");
}

void Referee::Promised(const SweepId& sweep, const std::string& content_hash) {
  const auto [known, is_new] = promised_.emplace(sweep, content_hash);
  if (!is_new && known->second != content_hash) stage_->Break("sweep ", sweep.value(), " was acknowledged for two contents");
  CheckPromises(durable_);
}

void Referee::GangBegan(const WorkerId& worker, const AttemptKey& key, const std::vector<std::int32_t>& slots) {
  if (!began_.insert(key).second) stage_->Break("attempt ", key.ToString(), " was started a second time, on ", worker.value());
  for (const std::int32_t slot : slots) {
    const auto [taken, is_free] = taken_.emplace(std::pair(worker, slot), key);
    if (!is_free) {
      stage_->Break("slot ", slot, " of ", worker.value(), " holds processes of ", taken->second.ToString(), " and now of ", key.ToString());
    }
  }
  gangs_[key] = {worker, slots};
}

void Referee::GangEnded(const WorkerId& worker, const AttemptKey& key) {
  const auto found = gangs_.find(key);
  if (found == gangs_.end()) return;
  for (const std::int32_t slot : found->second.slots) {
    const auto taken = taken_.find({worker, slot});
    if (taken != taken_.end() && taken->second == key) taken_.erase(taken);
  }
  gangs_.erase(found);
}

void Referee::CheckRungs(const core::State& state, const core::Run& run) {
  const bool trained = run.state == domain::RunState::kSucceeded && run.fully_judged && run.generation == 1 && run.rescue_of.empty();
  if (!trained || held_.contains(run.id)) return;
  const std::size_t rungs = domain::RungSteps(state.FindSweep(run.sweep)->spec->early_stopping, run.spec->steps).size();
  if (run.rungs.size() < rungs) stage_->Break("run ", run.id.value(), " trained to its end and is on record at ", run.rungs.size(), " of ", rungs, " rungs");
}

void Referee::CheckEnd(const core::State& state) {
  Check(state);
  for (const auto& [id, run] : state.runs) {
    CheckRungs(state, *run);
    if (!IsFinal(run->state)) {
      stage_->Break("nothing fails any more, and run ", id.value(), " does not end: it is ", ToString(run->state), ", attempt ", run->attempt,
                    run->pending_end.has_value() ? ", awaits judgement" : "", run->reason.empty() ? "" : ": ", run->reason);
    }
  }
  for (const auto& [key, attempt] : state.attempts) stage_->Break("every run has ended, and attempt ", key.ToString(), " still holds slots");
  for (const auto& [key, gang] : gangs_) stage_->Break("every run has ended, and processes of ", key.ToString(), " live on ", gang.worker.value());
}

}  // namespace entrain::sim
