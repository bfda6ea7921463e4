#include "coordinator/rpc/messages.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "coordinator/core/explain.h"
#include "domain/failure_rules.h"
#include "proto/convert.h"

namespace entrain::rpc {
namespace {

// Time for the steps that are left at the latest speed; -1: not known.
std::int64_t EtaMs(const core::Run& run, const RunResult& result) {
  if (domain::IsFinal(run.state)) return 0;
  const bool moving = run.state == domain::RunState::kRunning && result.step > 0 && result.tokens_per_second > 0.0;
  if (!moving) return -1;
  const double tokens_per_step = static_cast<double>(result.tokens) / static_cast<double>(result.step);
  const double left = static_cast<double>(std::max<std::int64_t>(0, run.spec->steps - result.step));
  return static_cast<std::int64_t>(std::llround(1000.0 * left * tokens_per_step / result.tokens_per_second));
}

void SetSpec(const domain::RunSpec& spec, v1::RunSummary* out) {
  out->set_cell_id(spec.cell.value());
  out->set_label(spec.label);
  out->set_variant(spec.variant);
  out->mutable_axes()->insert(spec.axes.begin(), spec.axes.end());
  out->set_steps(spec.steps);
  out->set_n_layer(static_cast<std::int32_t>(spec.n_layer));
  out->set_n_head(static_cast<std::int32_t>(spec.n_head));
  out->set_context(spec.context);
  out->set_parameters(spec.parameters);
  out->set_world_size(static_cast<std::int32_t>(spec.resources.WorldSize()));
}

void SetResult(const core::Run& run, const RunResult& result, v1::RunSummary* out) {
  out->set_step(result.step);
  out->set_loss(result.loss);
  out->set_eval_loss(result.eval_loss);
  out->set_best_eval_loss(result.best_eval_loss);
  out->set_tokens_per_second(result.tokens_per_second);
  out->set_tokens(result.tokens);
  out->set_eta_ms(EtaMs(run, result));
  const double bound = domain::EntropyBoundNats(run.spec->context);
  for (const float entropy : result.entropy_nats) {
    out->add_entropy_fraction(bound > 0.0 ? static_cast<float>(entropy / bound) : 0.0F);
  }
}

v1::AttemptInfo InfoOf(const core::Attempt& attempt) {
  v1::AttemptInfo out;
  out.set_attempt(attempt.key.attempt);
  for (const domain::GangMember& member : attempt.gang.members) out.add_workers(member.worker.value());
  out.set_resume_step(attempt.resume_from.path.empty() ? 0 : attempt.resume_from.step);
  if (!attempt.end) return out;
  out.set_cause(std::string(domain::ToString(attempt.end->cause)));
  out.set_last_step(attempt.end->last_step);
  out.set_message(attempt.end->message);
  return out;
}

// Of a sweep's queued runs, the first so many are explained as of now.
constexpr int kExplainedRuns = 64;

// A queued run's stored reason keeps the numbers of the day it was stored.
void SetWaitReasonNow(const core::State& state, const core::Run& run, v1::RunSummary* summary) {
  if (run.state != domain::RunState::kQueued) return;
  const core::Wait wait = core::DescribeWait(state, run.id);
  if (wait.reason.empty()) return;
  summary->set_reason(wait.reason);
  summary->set_never_placeable(wait.never);
}

}  // namespace

v1::SweepSummary SummaryOf(const core::State& state, const core::Sweep& sweep) {
  v1::SweepSummary out;
  out.set_id(sweep.id.value());
  out.set_name(sweep.spec->name);
  out.set_owner(sweep.spec->owner);
  out.set_created_wall_ms(sweep.created_wall_ms);
  for (const RunId& id : *sweep.runs) {
    if (const core::Run* run = state.FindRun(id)) ++(*out.mutable_runs_by_state())[std::string(domain::ToString(run->state))];
  }
  out.set_run_count(static_cast<std::int32_t>(sweep.runs->size()));
  out.set_finished(sweep.unfinished_runs == 0);
  out.set_released_wall_ms(sweep.released_wall_ms);
  out.set_released_by(sweep.released_by);
  return out;
}

v1::RunSummary SummaryOf(const core::Run& run, const RunResult& result) {
  v1::RunSummary out;
  SetSpec(*run.spec, &out);
  SetResult(run, result, &out);
  out.set_id(run.id.value());
  out.set_sweep_id(run.sweep.value());
  out.set_generation(static_cast<std::int32_t>(run.generation));
  out.set_state(std::string(domain::ToString(run.state)));
  const bool waiting = run.state == domain::RunState::kQueued && run.wait && !run.wait->reason.empty();
  out.set_reason(waiting ? run.wait->reason : run.reason);
  if (run.halt_reason != domain::HaltReason::kNone) out.set_halt_reason(std::string(domain::ToString(run.halt_reason)));
  if (run.failure != domain::FailureClass::kNone) out.set_failure_class(std::string(domain::ToString(run.failure)));
  out.set_attempt(run.attempt);
  out.set_failures(static_cast<std::int32_t>(run.failures));
  out.set_never_placeable(run.wait && run.wait->never);
  out.set_fully_judged(run.fully_judged);
  out.set_created_wall_ms(run.created_wall_ms);
  out.set_started_wall_ms(run.started_wall_ms);
  out.set_finished_wall_ms(run.finished_wall_ms);
  out.set_result_step(run.result_step);
  out.set_rescue_of(run.rescue_of.value());
  out.set_rescued_by(run.rescued_by.value());
  out.set_fork_step(run.fork.step);
  return out;
}

v1::Sweep SweepMessage(const core::State& state, const core::Sweep& sweep, RunResults* results) {
  v1::Sweep out;
  *out.mutable_summary() = SummaryOf(state, sweep);
  out.set_yaml(sweep.spec->yaml);
  int explained = 0;
  for (const RunId& id : *sweep.runs) {
    const core::Run* run = state.FindRun(id);
    if (run == nullptr) continue;
    *out.add_runs() = SummaryOf(*run, results->Of(*run));
    // The rest shows the reason that was stored when it last changed: a watched sweep of thousands must not explain every run each time.
    if (run->state == domain::RunState::kQueued && explained++ < kExplainedRuns) {
      SetWaitReasonNow(state, *run, out.mutable_runs(out.runs_size() - 1));
    }
  }
  return out;
}

v1::RunDetail DetailOf(const core::State& state, const core::Run& run, const RunResult& result) {
  v1::RunDetail out;
  *out.mutable_summary() = SummaryOf(run, result);
  SetWaitReasonNow(state, run, out.mutable_summary());
  out.set_config_json(run.spec->config_json);
  out.set_owner(run.owner);
  out.set_priority(run.priority);
  for (const domain::Rung& rung : run.rungs) {
    v1::Rung* wire = out.add_rungs();
    wire->set_step(rung.step);
    wire->set_value(rung.value);
    wire->set_metric(ToString(run.spec->early_stopping.metric));
    wire->set_outcome(ToString(rung.outcome));
    wire->set_reason(rung.reason);
  }
  if (run.failure != domain::FailureClass::kNone) out.set_failure_rule(std::string(domain::RuleOf(run.failure).text));
  if (run.verdict) *out.mutable_verdict() = wire::ToWire(*run.verdict);
  for (const domain::Verdict& notice : run.notices) *out.add_notices() = wire::ToWire(notice);
  for (const auto& attempt : run.past) *out.add_attempts() = InfoOf(*attempt);
  if (run.current && (run.past.empty() || run.past.back()->key != run.current->key)) *out.add_attempts() = InfoOf(*run.current);
  for (const domain::Checkpoint& checkpoint : run.checkpoints) *out.add_checkpoints() = wire::ToWire(checkpoint);
  for (const core::RetiredCheckpoint& retired : run.retired) {
    v1::RetiredCheckpoint* gone = out.add_retired();
    *gone->mutable_checkpoint() = wire::ToWire(retired.checkpoint);
    gone->set_wall_ms(retired.wall_ms);
    gone->set_reason(retired.reason);
  }
  for (const auto& entry : run.history) {
    v1::HistoryEntry* line = out.add_history();
    line->set_wall_ms(entry->wall_ms);
    line->set_what(entry->what);
    line->set_reason(entry->reason);
  }
  return out;
}

v1::WorkerSummary SummaryOf(const core::Worker& worker) {
  v1::WorkerSummary out;
  out.set_id(worker.info.id.value());
  out.set_name(worker.info.name);
  out.set_state(worker.StatusText());
  out.set_slots(worker.info.slots);
  out.set_slots_used(static_cast<std::int32_t>(worker.SlotsUsed()));
  out.set_slot_kind(std::string(wire::ToString(worker.info.slot_kind)));
  out.set_device(worker.info.device);
  out.set_version(worker.info.version);
  out.set_reason(worker.quarantine_reason);
  return out;
}

v1::PoolSummary SummaryOf(const pool::PoolStatus& pool) {
  v1::PoolSummary out;
  out.set_name(pool.limits.name);
  out.set_engine(pool.engine);
  out.set_slot_kind(pool.limits.shape.kind == domain::SlotKind::kGpu ? "gpu" : "cpu");
  out.set_slots(pool.limits.shape.slots);
  out.set_min_machines(pool.limits.min_machines);
  out.set_max_machines(pool.limits.max_machines);
  out.set_pending(CountIn(pool, pool::PoolMachine::State::kPending));
  out.set_up(CountIn(pool, pool::PoolMachine::State::kUp));
  out.set_leaving(CountIn(pool, pool::PoolMachine::State::kLeaving));
  out.set_doing(pool.doing);
  out.set_problem(pool.problem);
  for (const std::string& reason : PendingReasons(pool)) out.add_pending_reasons(reason);
  return out;
}

void AddPools(const core::Run& run, const std::vector<pool::PoolStatus>& pools, v1::RunSummary* summary) {
  if (run.state != domain::RunState::kQueued) return;
  std::string reason = summary->reason();
  for (const pool::PoolStatus& pool : pools) {
    if (pool::ElasticOf(pool.limits).CouldHold(scheduler::ShapeOf(run.spec->resources))) StrAppend(&reason, reason.empty() ? "" : "; ", Sentence(pool));
  }
  summary->set_reason(reason);
}

v1::CollectGarbageResponse ReportMessage(const retention::PassReport& report) {
  v1::CollectGarbageResponse out;
  out.set_artifact_bytes(report.artifact_bytes);
  out.set_artifact_quota_bytes(report.artifact_quota_bytes);
  out.set_sample_bytes(report.sample_bytes);
  out.set_log_bytes(report.log_bytes);
  for (const retention::PassItem& item : report.items) {
    v1::GarbageItem* added = out.add_items();
    added->set_kind(item.kind);
    added->set_name(item.name);
    added->set_bytes(item.bytes);
    added->set_reason(item.why);
    added->set_due_in_s(item.due_in_s);
    added->set_deleted(item.deleted);
    added->set_count(item.count);
  }
  return out;
}

v1::Problem ProblemMessage(const sweep::Problem& problem) {
  v1::Problem out;
  out.set_line(problem.line);
  out.set_column(problem.column);
  out.set_field(problem.field);
  out.set_message(problem.message);
  return out;
}

v1::RunSummary PlannedRun(const domain::RunSpec& spec, const sweep::Estimate& estimate) {
  v1::RunSummary out;
  SetSpec(spec, &out);
  out.set_generation(1);
  out.set_tokens(estimate.tokens);
  out.set_eta_ms(-1);
  out.set_estimated_memory_bytes(estimate.memory_bytes_per_rank * spec.resources.WorldSize());
  out.set_estimated_disk_bytes(estimate.disk_bytes);
  return out;
}

}  // namespace entrain::rpc
