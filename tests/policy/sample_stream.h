// Hand-made samples for the policy's tests.
#pragma once

#include <optional>
#include <vector>

#include "domain/model_config.h"
#include "policy/policy.h"

namespace entrain::policy {

// Entropies in units of the bound.
inline domain::EntropySample SampleAt(std::int64_t step, const std::vector<double>& fractions, std::int64_t context = 128) {
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = 5.0;
  sample.grad_norm = 1.0;
  for (const double fraction : fractions) {
    sample.entropy_nats.push_back(static_cast<float>(fraction * domain::EntropyBoundNats(context)));
  }
  return sample;
}


// Feeds all samples as one attempt; what fired, if anything.
inline std::optional<domain::Verdict> Feed(RunPolicy* policy, AttemptNumber attempt,
                                           const std::vector<domain::EntropySample>& samples) {
  std::optional<domain::Verdict> fired;
  for (const domain::EntropySample& sample : samples) {
    std::optional<domain::Verdict> verdict = policy->Observe(attempt, sample);
    if (verdict.has_value() && !fired.has_value()) fired = verdict;
  }
  return fired;
}

}  // namespace entrain::policy
