// One optimiser step of a rank: forward and backward of its micro-batches, the gang's reductions, the update.
#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/run_config.h"
#include "model/gpt.h"
#include "worker/collective/collective.h"
#include "worker/trainer/batches.h"
#include "worker/trainer/gradient_buckets.h"
#include "worker/trainer/loss_scale.h"
#include "worker/trainer/optimizer.h"
#include "worker/trainer/step_graph.h"
#include "worker/trainer/step_limit.h"
#include "worker/trainer/step_summary.h"
#include "worker/trainer/training_run.h"

namespace entrain::trainer {

torch::Dtype ArithmeticOf(domain::Precision precision);

// The conditions of bit-identical numbers (a fixed number of threads, no choice of algorithm by luck), and an allocator that keeps its pages.
void FixNumerics(std::int64_t threads);

struct StepOutcome {
  double grad_norm = 0.0;  // after averaging, before clipping
  double lr = 0.0;
  // Loss, regulariser and norm are finite, and the update was applied. The same on every rank.
  bool applied = false;
};

struct TrainingStepOptions {
  // False: ForwardOptions::measure_entropy.
  bool measure_entropy = true;
  // False: a GPU's steps are never captured (StepGraph).
  bool capture = true;
};

class TrainingStep {
 public:
  // Config and collective must outlive this.
  TrainingStep(const domain::RunConfig& config, torch::Device device, collective::Collective* collective,
               const TrainingStepOptions& options = {});

  model::Gpt& model() { return model_; }
  const model::Gpt& model() const { return model_; }
  AdamW& optimizer() { return optimizer_; }
  const AdamW& optimizer() const { return optimizer_; }
  LossScale& loss_scale() { return loss_scale_; }
  const LossScale& loss_scale() const { return loss_scale_; }
  // Of the last step.
  const StepSummary& summary() const { return summary_; }
  // Whether a GPU's steps are replayed by now.
  bool is_captured() const { return graph_.is_captured(); }
  // After parameters were loaded.
  void ParametersChanged() { optimizer_.RefreshComputeCopies(); }

  // Starts optimiser step `step` (0 is the first) on the micro-batches that `batch_of` gives. On a GPU it goes on beside the host, which
  // may do anything that leaves the model and the optimiser alone; on a CPU it is done on return.
  absl::Status Start(std::int64_t step, const std::function<Batch(std::int64_t micro)>& batch_of, StopWish wish);
  bool is_started() const { return is_started_; }
  bool runs_beside_host() const { return optimizer_.flat_parameters().is_cuda(); }
  // Waits for its end. Gradients that overflow at a loss scale above 1 are computed again at half of it; `on_retry` is called before.
  absl::StatusOr<StepOutcome> Finish(const std::function<void()>& on_retry);
  // How long the step and each of its reductions may take, from now on.
  void SetLimit(std::chrono::nanoseconds limit);
  // One after the other.
  absl::StatusOr<StepOutcome> Run(std::int64_t step, const std::function<Batch(std::int64_t micro)>& batch_of, StopWish wish,
                                  const std::function<void()>& on_retry);

 private:
  model::ForwardOptions Forward(std::int64_t micro) const;
  torch::Tensor MeanOverRanks(const torch::Tensor& values) const;
  // The batches' way to the device.
  void Take(const std::function<Batch(std::int64_t micro)>& batch_of);
  // Prepares, and runs or replays, the step that was started.
  absl::Status Launch(const std::function<void()>& prepare);
  // The step itself, from device memory alone: gradients, reductions, update, and the results on their way to the host.
  absl::Status Compute();
  absl::Status ComputeGradients();

  const domain::TrainConfig& train_;
  TrainingStepOptions options_;
  collective::Collective* collective_;
  model::Gpt model_;
  AdamW optimizer_;
  GradientBuckets buckets_;
  StepSummary summary_;
  LossScale loss_scale_;
  std::vector<Batch> batches_;  // of the step; on a GPU always the same memory
  torch::Tensor host_clip_;     // kernels::clip, pinned beside a GPU
  StepGraph graph_;
  double captured_loss_scale_ = 0.0;
  std::chrono::nanoseconds limit_ = StepLimit::kFirst;
  bool is_started_ = false;
  std::int64_t step_ = 0;  // that was started
};

}  // namespace entrain::trainer
