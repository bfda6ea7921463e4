// The published state -> the messages that people's tools read.
#pragma once

#include <vector>

#include "coordinator/core/state.h"
#include "coordinator/pool/board.h"
#include "coordinator/retention/report.h"
#include "coordinator/rpc/run_results.h"
#include "entrain/v1/sweep_service.pb.h"
#include "sweep/sweep.h"

namespace entrain::rpc {

v1::SweepSummary SummaryOf(const core::State& state, const core::Sweep& sweep);
v1::RunSummary SummaryOf(const core::Run& run, const RunResult& result);
v1::Sweep SweepMessage(const core::State& state, const core::Sweep& sweep, RunResults* results);
// Everything about one run but its evaluations.
v1::RunDetail DetailOf(const core::State& state, const core::Run& run, const RunResult& result);
v1::WorkerSummary SummaryOf(const core::Worker& worker);
v1::PoolSummary SummaryOf(const pool::PoolStatus& pool);
// Of a queued run: what the pools that could hold it are at, said after why it waits.
void AddPools(const core::Run& run, const std::vector<pool::PoolStatus>& pools, v1::RunSummary* summary);
v1::CollectGarbageResponse ReportMessage(const retention::PassReport& report);
v1::Problem ProblemMessage(const sweep::Problem& problem);
// A run that is not admitted: no id, no state.
v1::RunSummary PlannedRun(const domain::RunSpec& spec, const sweep::Estimate& estimate);

}  // namespace entrain::rpc
