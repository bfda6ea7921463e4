// Held-out loss over fixed windows, shared out over the ranks.
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "model/gpt.h"
#include "worker/collective/collective.h"
#include "worker/trainer/batches.h"

namespace entrain::trainer {

struct HeldOutLoss {
  double loss = 0.0;  // mean over all windows' tokens, nats
  std::int64_t tokens = 0;
};

class Evaluator {
 public:
  Evaluator(const Batches* batches, const domain::TrainConfig& train, torch::Dtype arithmetic, collective::Collective* collective);
  bool possible() const { return batches_->validation_windows() > 0; }

  // Windows are cut into groups whose size does not depend on the world size, each computed by one rank; so every world size sums the
  // same numbers in the same order. `on_group` is called after each group.
  absl::StatusOr<HeldOutLoss> Run(model::Gpt* model, const std::function<void()>& on_group) const;

 private:
  const Batches* batches_;
  std::int64_t context_;
  std::int64_t group_windows_;
  torch::Dtype arithmetic_;
  collective::Collective* collective_;
};

}  // namespace entrain::trainer
