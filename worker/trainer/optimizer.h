// AdamW over flat buffers, and the learning-rate schedule.
//
// Parameters, gradients and both moments live in four flat buffers of one layout; every parameter's data and .grad are views into
// them. So an all-reduce takes any range of the gradient buffer as one bucket, the norm is one reduction and an update one pass. The
// layout is: parameters that decay, in reverse order (the order in which backward finishes them), then those that do not.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "domain/run_config.h"
#include "model/kernels/step_kernels.h"

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
  // Keeps copies of the parameters in this type, rounded anew by every update; for matrix products beside float32 parameters.
  void KeepComputeCopies(torch::Dtype dtype);
  // By name, shaped like the parameters; empty without copies.
  const NamedTensors& compute_copies() const { return compute_copies_; }
  // After parameters were loaded: the copies follow.
  void RefreshComputeCopies();

  // One update is these three, in this order. The first two run where the parameters are and read nothing back, so that a GPU may
  // capture them and replay them; the host writes what changes from step to step before them and counts the step after them.
  //
  // `scale` averages the gradients over ranks and micro-batches and takes out the loss scale.
  void SetSchedule(double lr, double scale);
  // The norm of the scaled gradients, and from it min(1, max_norm / (norm + 1e-6)); max_norm 0 does not clip. Then AdamW on all parameters,
  // unless the norm is not finite or `allowed` ([] float64 on the device, if defined) is 0: then nothing changes.
  void Update(double max_norm, const torch::Tensor& allowed = {});
  void CountStep();
  // What Update() found; waits for it on a GPU.
  double GradientNorm() const;
  // The same, already or later: a tensor of kernels::clip::kCount numbers on the device.
  const torch::Tensor& clip_state() const { return clip_; }

  const torch::Tensor& flat_gradient() const { return gradient_; }
  const torch::Tensor& flat_parameters() const { return parameter_; }
  // In layout order. Between segments lies padding, which is always 0.
  const std::vector<FlatSegment>& segments() const { return segments_; }
  // Steps counted. For a checkpoint, with NamedState().
  std::int64_t step() const { return step_; }
  void set_step(std::int64_t step);
  // "exp_avg.<parameter>" and "exp_avg_sq.<parameter>", views shaped like the parameter; restore with copy_().
  NamedTensors NamedState() const;

 private:
  torch::Tensor View(const torch::Tensor& flat, const FlatSegment& segment) const;
  AdamWOptions options_;
  NamedTensors parameters_;  // in layout order
  std::vector<FlatSegment> segments_;
  std::int64_t decay_end_ = 0;  // elements before it decay
  torch::Tensor parameter_, gradient_, first_moment_, second_moment_;
  torch::Tensor copy_;  // of parameter_, flat; undefined unless wanted
  NamedTensors compute_copies_;
  torch::Tensor schedule_, clip_;   // kernels::schedule and kernels::clip, on the device
  torch::Tensor host_schedule_;     // the same memory on a CPU, pinned beside a GPU
  const kernels::StepKernels* kernels_ = nullptr;
  std::int64_t step_ = 0;
};

}  // namespace entrain::trainer
