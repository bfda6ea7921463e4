#include "worker/trainer/training_step.h"

#include <malloc.h>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

#include "base/check.h"
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
      loss_scale_(config.train.precision),
      batches_(static_cast<std::size_t>(config.train.accumulation)),
      host_clip_(at::zeros({kernels::clip::kCount}, at::TensorOptions().dtype(torch::kFloat64).pinned_memory(device.is_cuda()))),
      graph_(device, options.capture) {
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
  const absl::Status status = FinishSum(StartSum(collective_, mean).get(), mean);
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  return mean.div_(static_cast<double>(collective_->world_size()));
}

void TrainingStep::Take(const std::function<Batch(std::int64_t micro)>& batch_of) {
  for (std::int64_t micro = 0; micro < train_.accumulation; ++micro) {
    Batch& held = batches_[static_cast<std::size_t>(micro)];
    const Batch batch = batch_of(micro);
    if (batch.tokens_BT.is_cuda() && held.tokens_BT.defined()) {
      held.tokens_BT.copy_(batch.tokens_BT);
      held.labels_BT.copy_(batch.labels_BT);
    } else {
      held = batch.tokens_BT.is_cuda() ? Batch{batch.tokens_BT.clone(), batch.labels_BT.clone()} : batch;
    }
  }
}

absl::Status TrainingStep::ComputeGradients() {
  summary_.Clear();
  for (std::int64_t micro = 0; micro < train_.accumulation; ++micro) {
    const Batch& batch = batches_[static_cast<std::size_t>(micro)];
    const model::ForwardOutput output = model_.Forward(batch.tokens_BT, batch.labels_BT, Forward(micro));
    summary_.AddMicroBatch(micro, output);
    if (micro + 1 == train_.accumulation) {
      summary_.StartReduction();
      buckets_.Arm();
    }
    model_.Backward(output);
  }
  absl::Status status = buckets_.Finish();
  status.Update(summary_.Finish());
  return status;
}

absl::Status TrainingStep::Compute() {
  ENTRAIN_RETURN_IF_ERROR(ComputeGradients());
  optimizer_.Update(train_.clip, summary_.LossesAreFinite());
  StartCopy(host_clip_, optimizer_.clip_state());
  return absl::OkStatus();
}

absl::Status TrainingStep::Launch(const std::function<void()>& prepare) {
  // The loss scale is an argument of kernels, not a number in device memory.
  if (std::exchange(captured_loss_scale_, loss_scale_.value()) != loss_scale_.value()) graph_.Forget();
  const double share = 1.0 / static_cast<double>(collective_->world_size() * train_.accumulation);
  const auto prepare_all = [&] {
    optimizer_.SetSchedule(LearningRate(train_, step_), share / loss_scale_.value());
    prepare();
  };
  return graph_.Run(prepare_all, [this] { return Compute(); });
}

absl::Status TrainingStep::Start(std::int64_t step, const std::function<Batch(std::int64_t micro)>& batch_of, StopWish wish) {
  ENTRAIN_CHECK(!is_started_);
  is_started_ = true;
  step_ = step;
  return Launch([&] {
    summary_.SetWish(wish);
    Take(batch_of);
  });
}

void TrainingStep::SetLimit(std::chrono::nanoseconds limit) {
  limit_ = limit;
  collective_->SetOperationLimit(limit);
}

absl::StatusOr<StepOutcome> TrainingStep::Finish(const std::function<void()>& on_retry) {
  ENTRAIN_CHECK(is_started_);
  is_started_ = false;
  StepOutcome outcome;
  outcome.lr = LearningRate(train_, step_);
  for (;;) {
    ENTRAIN_RETURN_IF_ERROR(graph_.WaitForResults(limit_));
    outcome.grad_norm = host_clip_.const_data_ptr<double>()[kernels::clip::kNorm];
    const bool losses_are_finite = std::isfinite(summary_.loss()) && std::isfinite(summary_.reg());
    outcome.applied = losses_are_finite && std::isfinite(outcome.grad_norm);
    // A loss that is not finite is so at any scale. Loss and norm are the same numbers on every rank, and so is this decision.
    const bool repairable = !outcome.applied && losses_are_finite;
    if (!repairable || !loss_scale_.Lower()) break;
    Log(LogLevel::kInfo, "gradients overflowed; the step is computed again",
        {{"step", std::to_string(step_ + 1)}, {"loss_scale", std::to_string(loss_scale_.value())}});
    on_retry();
    ENTRAIN_RETURN_IF_ERROR(Launch([] {}));
  }
  if (!outcome.applied) return outcome;
  optimizer_.CountStep();
  loss_scale_.StepApplied();
  return outcome;
}

absl::StatusOr<StepOutcome> TrainingStep::Run(std::int64_t step, const std::function<Batch(std::int64_t micro)>& batch_of,
                                              StopWish wish, const std::function<void()>& on_retry) {
  ENTRAIN_RETURN_IF_ERROR(Start(step, batch_of, wish));
  return Finish(on_retry);
}

}  // namespace entrain::trainer
