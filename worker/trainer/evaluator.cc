#include "worker/trainer/evaluator.h"

#include <algorithm>
#include <vector>

#include "base/status_macros.h"

namespace entrain::trainer {
namespace {

// Bounds the activations of one forward pass.
constexpr std::int64_t kGroupTokens = 2048;

}  // namespace

Evaluator::Evaluator(const Batches* batches, const domain::TrainConfig& train, torch::Dtype arithmetic,
                     collective::Collective* collective)
    : batches_(batches),
      context_(train.context),
      group_windows_(std::clamp<std::int64_t>(kGroupTokens / train.context, 1, train.batch_size)),
      arithmetic_(arithmetic),
      collective_(collective) {}

absl::StatusOr<HeldOutLoss> Evaluator::Run(model::Gpt* model, const std::function<void()>& on_group) const {
  const torch::NoGradGuard no_grad;
  const std::int64_t windows = batches_->validation_windows();
  const std::int64_t groups = (windows + group_windows_ - 1) / group_windows_;
  std::vector<float> losses(static_cast<std::size_t>(groups), 0.0f);
  model::ForwardOptions options;
  options.training = false;
  options.arithmetic = arithmetic_;
  options.measure_entropy = false;  // only the loss is wanted
  const auto size = [&](std::int64_t group) { return std::min(windows - group * group_windows_, group_windows_); };
  for (std::int64_t group = collective_->rank(); group < groups; group += collective_->world_size()) {
    const std::int64_t begin = group * group_windows_;
    const Batch batch = batches_->Validation(begin, begin + size(group));
    losses[static_cast<std::size_t>(group)] =
        model->Forward(batch.tokens_BT, batch.labels_BT, options).ce.item<float>();
    on_group();
  }
  ENTRAIN_RETURN_IF_ERROR(collective_->AllReduceSum(losses.data(), groups)->Wait());
  double sum = 0.0;
  for (std::int64_t group = 0; group < groups; ++group) {
    sum += static_cast<double>(losses[static_cast<std::size_t>(group)]) * static_cast<double>(size(group));
  }
  return HeldOutLoss{sum / static_cast<double>(windows), windows * context_};
}

}  // namespace entrain::trainer
