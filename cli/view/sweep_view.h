// What the live view shows: plain values, filled from the coordinator's updates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "domain/run_state.h"

namespace entrain::cli::view {

struct RunView {
  std::string id;
  std::string label;
  domain::RunState state = domain::RunState::kQueued;
  domain::HaltReason halt_reason = domain::HaltReason::kNone;
  // Why it is in this state, one sentence.
  std::string reason;
  bool never_placeable = false;
  std::int64_t attempt = 0;
  std::int64_t step = 0;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  std::int64_t eta_ms = -1;  // -1: not known
  double loss = 0.0;         // nats a token, training
  double eval_loss = 0.0;    // nats a token; 0: none yet
  double tokens_per_second = 0.0;
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  // Of U = ln(T!)/T, [n_layer * n_head], layer-major; empty before the first sample.
  std::vector<float> entropy_fraction;
};

struct SweepView {
  std::string id;
  std::string name;
  std::vector<RunView> runs;
  bool finished = false;
  std::int64_t slots = 0;
  std::int64_t slots_used = 0;
  std::int64_t workers = 0;
  // Where things listen, e.g. "metrics 127.0.0.1:9090, 127.0.0.1:9091"; empty: not shown.
  std::string addresses;
  // What the program itself has to say, e.g. that it is reconnecting; empty: nothing.
  std::string note;
};

// "succeeded", "halted (collapse)", ...
std::string StateText(const RunView& run);
// "stopped: entropy collapse: <reason>", "failed: <reason>", "waiting: <reason>"; empty when there is nothing to say.
std::string ReasonText(const RunView& run);

// Steps done of all steps, in [0, 1]; a run in a final state counts as done whatever its step.
double Progress(const SweepView& sweep);
// Tokens still to train over the tokens a second of the runs that train now; -1 while that is not known.
std::int64_t RemainingMs(const SweepView& sweep);

}  // namespace entrain::cli::view
