// A state with sweeps and runs as a test wants them, made by facts as the core makes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/core/core.h"

namespace entrain::retention {

class StateMaker {
 public:
  // A sweep of one run that is running as attempt 1; the run's id.
  RunId Start(const std::string& sweep, std::int64_t steps = 100);
  // "checkpoints/RUN/1/step-00000010", of 100 bytes.
  void Checkpoint(const RunId& run, std::int64_t step, std::int64_t best_step = 0);
  void Finish(const RunId& run, std::int64_t wall_ms, domain::RunState state = domain::RunState::kSucceeded);
  void Verdict(const RunId& run, std::int64_t step, std::int64_t since);
  void Release(const std::string& sweep);
  void Retire(const RunId& run, const std::vector<std::int64_t>& steps);
  const core::State& state() const { return state_; }
  const core::Run& run(const RunId& id) const { return *state_.FindRun(id); }

 private:
  template <typename Body>
  void Apply(Body body) {
    core::Apply(&state_, {++at_ms_, wall_ms_, std::move(body)});
  }
  core::State state_;
  std::int64_t at_ms_ = 0;
  std::int64_t wall_ms_ = 1;
};

}  // namespace entrain::retention
