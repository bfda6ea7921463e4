#include "worker/trainer/training_step.h"

#include <malloc.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "worker/trainer/tensor_reduction.h"

namespace entrain::trainer {

void FixNumerics(std::int64_t threads) {
  torch::set_num_threads(static_cast<int>(threads));
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // That mode would also fill every new tensor, which costs time and changes nothing here.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  // Freed tensors stay with the process: giving pages back and faulting them in again every step costs more than the step's small
  // operations.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, -1);
}

torch::Dtype ArithmeticOf(domain::Precision precision) {
  switch (precision) {
    case domain::Precision::kFp32: return torch::kFloat32;
    case domain::Precision::kBf16: return torch::kBFloat16;
    case domain::Precision::kFp16: return torch::kFloat16;
  }
  return torch::kFloat32;
}

TrainingStep::TrainingStep(const domain::RunConfig& config, torch::Device device, collective::Collective* collective,
                           const TrainingStepOptions& options)
    : train_(config.train),
      options_(options),
      collective_(collective),
      model_(config.model, config.train.seed, torch::kFloat32, device),
      optimizer_(model_.NamedParameters(), AdamWOptions::From(config.train)),
      buckets_(optimizer_, model_.NamedParameters(), collective),
      summary_(config.model.n_layer, config.model.n_head, config.train.accumulation, device, collective),
      loss_scale_(config.train.precision) {
  if (const torch::Dtype arithmetic = ArithmeticOf(train_.precision); arithmetic != torch::kFloat32) {
    optimizer_.KeepComputeCopies(arithmetic);
    model_.UseComputeCopies(optimizer_.compute_copies());
  }
}

model::ForwardOptions TrainingStep::Forward(std::int64_t micro) const {
  model::ForwardOptions options;
  const int world_size = collective_->world_size();
  options.batch_share = 1.0 / world_size;
  options.arithmetic = ArithmeticOf(train_.precision);
  options.measure_entropy = options_.measure_entropy;
  if (world_size > 1) options.mean_over_ranks = [this](const torch::Tensor& values) { return MeanOverRanks(values); };
  options.backward = model::BackwardOptions{.accumulate = micro > 0, .loss_scale = loss_scale_.value()};
  return options;
}

torch::Tensor TrainingStep::MeanOverRanks(const torch::Tensor& values) const {
  torch::Tensor mean = values.detach().clone(at::MemoryFormat::Contiguous);
  const absl::Status status = StartSum(collective_, mean)->Wait();
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  return mean.div_(static_cast<double>(collective_->world_size()));
}

absl::Status TrainingStep::ComputeGradients(const std::function<Batch(std::int64_t micro)>& batch_of, StopWish wish) {
  summary_.Clear();
  for (std::int64_t micro = 0; micro < train_.accumulation; ++micro) {
    const Batch batch = batch_of(micro);
    const model::ForwardOutput output = model_.Forward(batch.tokens_BT, batch.labels_BT, Forward(micro));
    summary_.AddMicroBatch(micro, output);
    if (micro + 1 == train_.accumulation) {
      summary_.StartReduction(wish);
      buckets_.Arm();
    }
    model_.Backward(output);
  }
  absl::Status status = buckets_.Finish();
  status.Update(summary_.Finish());
  return status;
}

absl::StatusOr<StepOutcome> TrainingStep::Run(std::int64_t step, const std::function<Batch(std::int64_t micro)>& batch_of,
                                              StopWish wish, const std::function<void()>& on_retry) {
  StepOutcome outcome;
  outcome.lr = LearningRate(train_, step);
  const double share = 1.0 / static_cast<double>(collective_->world_size() * train_.accumulation);
  for (;;) {
    optimizer_.SetSchedule(outcome.lr, share / loss_scale_.value());
    ENTRAIN_RETURN_IF_ERROR(ComputeGradients(batch_of, wish));
    optimizer_.Update(train_.clip, summary_.LossesAreFinite());
    outcome.grad_norm = optimizer_.GradientNorm();
    const bool losses_are_finite = std::isfinite(summary_.loss()) && std::isfinite(summary_.reg());
    outcome.applied = losses_are_finite && std::isfinite(outcome.grad_norm);
    // A loss that is not finite is so at any scale. Loss and norm are the same numbers on every rank, and so is this decision.
    const bool repairable = !outcome.applied && losses_are_finite;
    if (!repairable || !loss_scale_.Lower()) break;
    Log(LogLevel::kInfo, "gradients overflowed; the step is computed again",
        {{"step", std::to_string(step + 1)}, {"loss_scale", std::to_string(loss_scale_.value())}});
    on_retry();
  }
  if (!outcome.applied) return outcome;
  optimizer_.CountStep();
  loss_scale_.StepApplied();
  return outcome;
}

}  // namespace entrain::trainer
