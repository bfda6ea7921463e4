// AdamW over flat buffers, and the learning-rate schedule.
//
// Parameters, gradients and both moments live in four flat buffers of one layout; every parameter's data and .grad are views into
// them. So an all-reduce takes any range of the gradient buffer as one bucket, the norm is one reduction and a step is two passes. The
// layout is: parameters that decay, in reverse order (the order in which backward finishes them), then those that do not.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/run_config.h"

namespace entrain::trainer {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  domain::DecayRule decay_rule = domain::DecayRule::kHf;

  static AdamWOptions From(const domain::TrainConfig& train);
};

// Whether weight decay acts on a parameter. kHf: on all but names that end in ".bias" and layer-norm gains (thresholds, temperatures,
// alpha, beta, slopes and weight gains decay). kLinear: on weight matrices and embeddings only.
bool Decays(std::string_view name, domain::DecayRule rule);

// The rate of optimiser step `step` (0 is the first): rises linearly over the warm-up to lr at its last step, then follows the schedule
// from lr down to final_lr_fraction * lr at the run's last step.
double LearningRate(const domain::TrainConfig& train, std::int64_t step);

// Where a parameter lies in the flat buffers, in elements.
struct FlatSegment {
  std::string name;
  std::int64_t offset = 0;
  std::int64_t count = 0;
};

class AdamW {
 public:
  using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

  // Moves the parameters' data into the flat buffer: from here on load values with copy_(), never by replacing data.
  AdamW(const NamedTensors& parameters, const AdamWOptions& options);

  void ZeroGrad();
  // Multiplies the gradients by `scale` (averaging over ranks and micro-batches), then by min(1, max_norm / (norm + 1e-6)); max_norm 0
  // does not clip. Returns the norm after scaling and before clipping; when it is not finite the gradients are left alone.
  double ClipGradients(double max_norm, double scale = 1.0);
  void Step(double lr);

  const torch::Tensor& flat_gradient() const { return gradient_; }
  const torch::Tensor& flat_parameters() const { return parameter_; }
  // In layout order. Between segments lies padding, which is always 0.
  const std::vector<FlatSegment>& segments() const { return segments_; }
  // Steps done. For a checkpoint, with NamedState().
  std::int64_t step() const { return step_; }
  void set_step(std::int64_t step);
  // "exp_avg.<parameter>" and "exp_avg_sq.<parameter>", views shaped like the parameter; restore with copy_().
  NamedTensors NamedState() const;

 private:
  torch::Tensor View(const torch::Tensor& flat, const FlatSegment& segment) const;
  void StepRange(std::int64_t begin, std::int64_t end, double lr, double weight_decay);

  AdamWOptions options_;
  NamedTensors parameters_;  // in layout order
  std::vector<FlatSegment> segments_;
  std::int64_t decay_end_ = 0;  // elements before it decay
  torch::Tensor parameter_, gradient_, first_moment_, second_moment_;
  std::int64_t step_ = 0;
};

}  // namespace entrain::trainer
