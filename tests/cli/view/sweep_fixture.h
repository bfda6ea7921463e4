// A sweep as the live view sees it half-way, used by the views' tests.
#pragma once

#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

inline SweepView HalfWaySweep() {
  SweepView sweep;
  sweep.id = "s1";
  sweep.name = "quickstart";
  sweep.slots = 2;
  sweep.slots_used = 2;
  sweep.workers = 1;
  const auto run = [&](const char* label, domain::RunState state, std::int64_t step) -> RunView& {
    RunView added;
    added.id = label;
    added.label = label;
    added.state = state;
    added.step = step;
    added.steps = 200;
    added.n_layer = 2;
    added.n_head = 4;
    added.tokens = step * 1024;
    sweep.runs.push_back(added);
    return sweep.runs.back();
  };
  RunView& done = run("SM+LN+G", domain::RunState::kSucceeded, 200);
  done.loss = 2.3456;
  done.eval_loss = 2.4;
  done.entropy_fraction = {0.9f, 0.8f, 0.7f, 0.6f, 0.5f, 0.4f, 0.3f, 0.2f};
  RunView& live = run("SM+R", domain::RunState::kRunning, 50);
  live.loss = 3.1;
  live.eval_loss = 3.2;
  live.tokens_per_second = 5120;
  live.eta_ms = 30'000;
  live.entropy_fraction = {0.9f, 0.9f, 0.9f, 0.9f, 0.02f, 0.9f, 0.9f, 0.01f};
  RunView& halted = run("SM", domain::RunState::kHalted, 120);
  halted.halt_reason = domain::HaltReason::kCollapse;
  halted.reason = "layer 1: all 4 heads below 0.05 U at steps 70 and 120";
  halted.loss = 4.5;
  halted.entropy_fraction = {0.5f, 0.5f, 0.5f, 0.5f, 0.0f, 0.0f, 0.0f, 0.0f};
  RunView& queued = run("SM+G", domain::RunState::kQueued, 0);
  queued.reason = "needs 2 slots, 0 of 2 are free";
  return sweep;
}

}  // namespace entrain::cli::view
