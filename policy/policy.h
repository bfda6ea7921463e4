// One run's samples in step order -> verdict. Pure: the same samples give the same verdict on the coordinator, on a worker, in a
// replay and in a back-test.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "domain/run_config.h"
#include "domain/run_state.h"
#include "domain/sample.h"

namespace entrain::policy {

struct RunShape {
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t context = 0;
  std::int64_t steps = 0;
};

// Entropies as the store keeps them: E/U quantised to 16 bits, so that a rule sees the same values live and in a replay.
std::vector<std::uint16_t> QuantiseEntropy(const std::vector<float>& entropy_nats, std::int64_t context);
std::vector<float> DequantiseEntropy(const std::vector<std::uint16_t>& stored, std::int64_t context);

class RunPolicy {
 public:
  RunPolicy(const domain::HealthRules& rules, const RunShape& shape);
  ~RunPolicy();
  RunPolicy(RunPolicy&&) noexcept;
  RunPolicy& operator=(RunPolicy&&) noexcept;

  // The next sample in step order (entropies already rounded as the store rounds them). At most one verdict a run: after it,
  // nothing is returned.
  std::optional<domain::Verdict> Observe(AttemptNumber attempt, const domain::EntropySample& sample);
  // Forgets everything after `step`: the attempt that resumes from there replaces later samples.
  void RewindTo(std::int64_t step);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace entrain::policy
