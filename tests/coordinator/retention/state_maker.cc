#include "tests/coordinator/retention/state_maker.h"

#include <algorithm>

#include "artifacts/artifact_store.h"
#include "base/strings.h"

namespace entrain::retention {

RunId StateMaker::Start(const std::string& sweep, std::int64_t steps) {
  domain::SweepAdmitted admitted;
  admitted.sweep = SweepId(sweep);
  admitted.idempotency_key = sweep;
  admitted.spec.name = sweep;
  admitted.spec.owner = "ann";
  domain::RunSpec spec;
  spec.cell = CellId("cell-" + sweep);
  spec.label = sweep;
  spec.steps = steps;
  spec.dataset = {"text", "0123456789abcdef0123456789abcdef"};
  admitted.spec.runs.push_back(spec);
  const RunId run = domain::MakeRunId(admitted.sweep, spec.cell, 1);
  const WorkerId worker("w-" + sweep);
  Apply(admitted);
  Apply(domain::WorkerRegistered{{.id = worker, .name = "host", .version = "v", .slots = 1, .device = "cpu"}, 1});
  Apply(domain::RunPlaced{{run, 1}, {{{worker, {0}}}}, {}});
  Apply(domain::RunStarted{{run, 1}});
  return run;
}

void StateMaker::Checkpoint(const RunId& run, std::int64_t step, std::int64_t best_step) {
  Apply(domain::CheckpointRecorded{run, {1, step, artifacts::CheckpointPath({run, 1}, step), 100, "hash", best_step}});
}

void StateMaker::Finish(const RunId& run, std::int64_t wall_ms, domain::RunState state) {
  wall_ms_ = wall_ms;
  domain::AttemptEnd end;
  end.cause = domain::EndCause::kStopped;
  Apply(domain::AttemptClosed{{run, 1}, end});
  domain::RunFinished finished;
  finished.run = run;
  finished.state = state;
  finished.result_step = state_.FindRun(run)->spec->steps;
  Apply(finished);
}

void StateMaker::Verdict(const RunId& run, std::int64_t step, std::int64_t since) {
  domain::Verdict verdict;
  verdict.attempt = 1;
  verdict.step = step;
  verdict.reason = domain::HaltReason::kCollapse;
  verdict.steps = {since, step};
  verdict.values = {0.0, 0.0};
  Apply(domain::VerdictRecorded{run, verdict});
}

void StateMaker::Release(const std::string& sweep) { Apply(domain::SweepReleased{SweepId(sweep), "ann"}); }

void StateMaker::Retire(const RunId& run, const std::vector<std::int64_t>& steps) {
  domain::CheckpointsRetired retired{run, {}, "older"};
  for (const domain::Checkpoint& checkpoint : state_.FindRun(run)->checkpoints) {
    if (std::find(steps.begin(), steps.end(), checkpoint.step) != steps.end()) retired.checkpoints.push_back(checkpoint);
  }
  Apply(retired);
}

}  // namespace entrain::retention
