#include "worker/trainer/step_summary.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "worker/trainer/step_graph.h"
#include "worker/trainer/tensor_reduction.h"

namespace entrain::trainer {
namespace {

// NaN wins, so that it is seen.
float MaxOrNan(float a, float b) { return std::isnan(a) || std::isnan(b) ? std::nanf("") : std::max(a, b); }

}  // namespace

StepSummary::StepSummary(std::int64_t n_layer, std::int64_t n_head, std::int64_t accumulation,
                         torch::Device device, collective::Collective* collective)
    : n_layer_(n_layer),
      n_head_(n_head),
      accumulation_(accumulation),
      world_size_(collective->world_size()),
      rank_(collective->rank()),
      collective_(collective) {
  reg_begin_ = world_size_ * accumulation_;
  wish_begin_ = reg_begin_ + world_size_ * accumulation_;
  score_begin_ = wish_begin_ + world_size_;
  entropy_begin_ = score_begin_ + world_size_ * n_layer_;
  values_ = torch::zeros({entropy_begin_ + n_layer_ * n_head_}, torch::TensorOptions().dtype(torch::kFloat32).device(device));
  wish_ = torch::zeros({1}, values_.options());
  host_values_ = values_;
  if (device.is_cuda()) host_values_ = torch::empty(values_.sizes(), torch::TensorOptions().dtype(torch::kFloat32).pinned_memory(true));
}

void StepSummary::SetWish(StopWish wish) { wish_.fill_(static_cast<double>(wish)); }

void StepSummary::Clear() { values_.zero_(); }

void StepSummary::AddMicroBatch(std::int64_t micro, const model::ForwardOutput& output) {
  ENTRAIN_CHECK(output.entropy_LH.numel() == n_layer_ * n_head_ && output.max_abs_score_L.numel() == n_layer_);
  const torch::NoGradGuard no_grad;
  const std::int64_t slot = rank_ * accumulation_ + micro;
  values_.narrow(0, slot, 1).copy_(output.ce.view({1}));
  values_.narrow(0, reg_begin_ + slot, 1).copy_(output.reg.view({1}));
  values_.narrow(0, entropy_begin_, n_layer_ * n_head_).add_(output.entropy_LH.reshape({-1}));
  // The larger, or NaN if either is.
  torch::Tensor score_L = values_.narrow(0, score_begin_ + rank_ * n_layer_, n_layer_);
  at::maximum_out(score_L, score_L, output.max_abs_score_L.reshape({-1}));
}

void StepSummary::StartReduction() {
  values_.narrow(0, wish_begin_ + rank_, 1).copy_(wish_);
  work_ = StartSum(collective_, values_);
}

absl::Status StepSummary::Finish() {
  ENTRAIN_CHECK(work_ != nullptr);
  absl::Status status = FinishSum(work_.get(), values_);
  work_.reset();
  if (values_.is_cuda()) StartCopy(host_values_, values_);
  return status;
}

torch::Tensor StepSummary::LossesAreFinite() const {
  return at::isfinite(values_.narrow(0, 0, wish_begin_)).all().to(torch::kFloat64);
}

double StepSummary::MeanOfSlots(std::int64_t begin) const {
  const std::int64_t count = world_size_ * accumulation_;
  double sum = 0.0;
  for (std::int64_t i = 0; i < count; ++i) sum += *Slots(begin + i);
  return sum / static_cast<double>(count);
}

double StepSummary::loss() const { return MeanOfSlots(0); }
double StepSummary::reg() const { return MeanOfSlots(reg_begin_); }

StopWish StepSummary::stop_wish() const {
  const float strongest = *std::max_element(Slots(wish_begin_), Slots(wish_begin_ + world_size_));
  return static_cast<StopWish>(static_cast<int>(strongest));
}

std::vector<float> StepSummary::entropy_nats() const {
  std::vector<float> mean(static_cast<std::size_t>(n_layer_ * n_head_));
  const float count = static_cast<float>(world_size_ * accumulation_);
  for (std::size_t i = 0; i < mean.size(); ++i) mean[i] = Slots(entropy_begin_)[i] / count;
  return mean;
}

std::vector<float> StepSummary::max_abs_score() const {
  std::vector<float> score(static_cast<std::size_t>(n_layer_), 0.0f);
  for (std::int64_t rank = 0; rank < world_size_; ++rank) {
    for (std::int64_t layer = 0; layer < n_layer_; ++layer) {
      float& place = score[static_cast<std::size_t>(layer)];
      place = MaxOrNan(place, *Slots(score_begin_ + rank * n_layer_ + layer));
    }
  }
  return score;
}

}  // namespace entrain::trainer
