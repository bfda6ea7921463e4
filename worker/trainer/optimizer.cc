#include "worker/trainer/optimizer.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace entrain::trainer {
namespace {

using torch::Tensor;

// Segments start at multiples of this many elements, so that matrices stay aligned to a cache line.
constexpr std::int64_t kAlignment = 16;
// The norm is taken over blocks of this many elements (kernels::GradientNorm).
constexpr std::int64_t kNormBlock = 1024;

bool IsNormGain(std::string_view name) {
  return name.ends_with(".ln_1.weight") || name.ends_with(".ln_2.weight") || name.ends_with(".ln_f.weight");
}

}  // namespace

AdamWOptions AdamWOptions::From(const domain::TrainConfig& train) {
  return {train.beta1, train.beta2, train.eps, train.weight_decay, train.decay_rule};
}

bool Decays(std::string_view name, domain::DecayRule rule) {
  if (IsNormGain(name)) return false;
  return rule == domain::DecayRule::kHf ? !name.ends_with(".bias") : name.ends_with(".weight");
}

double LearningRate(const domain::TrainConfig& train, std::int64_t step) {
  if (step < train.warmup_steps) {
    return train.lr * static_cast<double>(step + 1) / static_cast<double>(train.warmup_steps);
  }
  const double span = static_cast<double>(std::max<std::int64_t>(1, train.steps - 1 - train.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - train.warmup_steps) / span);
  double remaining = 1.0;
  switch (train.schedule) {
    case domain::LrSchedule::kConstant:
      return train.lr;
    case domain::LrSchedule::kLinear:
      remaining = 1.0 - progress;
      break;
    case domain::LrSchedule::kCosine:
      remaining = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
      break;
  }
  return train.lr * (train.final_lr_fraction + (1.0 - train.final_lr_fraction) * remaining);
}

AdamW::AdamW(const NamedTensors& parameters, const AdamWOptions& options) : options_(options) {
  ENTRAIN_CHECK(!parameters.empty());
  const torch::NoGradGuard no_grad;
  std::int64_t total = 0;
  for (const bool decays : {true, false}) {
    for (auto entry = parameters.rbegin(); entry != parameters.rend(); ++entry) {
      if (Decays(entry->first, options.decay_rule) != decays) continue;
      parameters_.push_back(*entry);
      segments_.push_back({entry->first, total, entry->second.numel()});
      total += (entry->second.numel() + kAlignment - 1) / kAlignment * kAlignment;
    }
    if (decays) decay_end_ = total;
  }
  total = (total + kNormBlock - 1) / kNormBlock * kNormBlock;
  const auto tensor_options = parameters.front().second.options().requires_grad(false);
  parameter_ = at::zeros({total}, tensor_options);
  gradient_ = at::zeros({total}, tensor_options);
  first_moment_ = at::zeros({total}, tensor_options);
  second_moment_ = at::zeros({total}, tensor_options);
  kernels_ = &kernels::StepKernelsFor(parameter_);
  schedule_ = at::zeros({kernels::schedule::kCount}, tensor_options.dtype(torch::kFloat64));
  clip_ = at::zeros({kernels::clip::kCount}, tensor_options.dtype(torch::kFloat64));
  host_schedule_ = schedule_.is_cuda() ? at::zeros(schedule_.sizes(), at::TensorOptions().dtype(torch::kFloat64).pinned_memory(true)) : schedule_;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    Tensor& parameter = parameters_[i].second;
    const Tensor view = View(parameter_, segments_[i]).view(parameter.sizes());
    view.copy_(parameter);
    parameter.set_data(view);
    parameter.mutable_grad() = View(gradient_, segments_[i]).view(parameter.sizes());
  }
}

Tensor AdamW::View(const Tensor& flat, const FlatSegment& segment) const {
  return flat.narrow(0, segment.offset, segment.count);
}

void AdamW::ZeroGrad() { gradient_.zero_(); }

void AdamW::KeepComputeCopies(torch::Dtype dtype) {
  compute_copies_.clear();
  copy_ = at::empty(parameter_.sizes(), parameter_.options().dtype(dtype));
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    compute_copies_.emplace_back(segments_[i].name, View(copy_, segments_[i]).view(parameters_[i].second.sizes()));
  }
  RefreshComputeCopies();
}

void AdamW::RefreshComputeCopies() {
  if (copy_.defined()) copy_.copy_(parameter_);
}

void AdamW::SetSchedule(double lr, double scale) {
  const auto next = static_cast<double>(step_ + 1);
  double* values = host_schedule_.mutable_data_ptr<double>();
  values[kernels::schedule::kLearningRate] = lr;
  values[kernels::schedule::kBiasCorrection1] = 1.0 - std::pow(options_.beta1, next);
  values[kernels::schedule::kBiasCorrection2] = 1.0 - std::pow(options_.beta2, next);
  values[kernels::schedule::kGradientScale] = scale;
  if (schedule_.is_cuda()) schedule_.copy_(host_schedule_, /*non_blocking=*/true);
}

void AdamW::Update(double max_norm, const Tensor& allowed) {
  const torch::NoGradGuard no_grad;
  kernels_->gradient_norm({gradient_, max_norm, schedule_, clip_});
  if (allowed.defined()) clip_[kernels::clip::kFinite].mul_(allowed);
  kernels_->adamw({parameter_, gradient_, first_moment_, second_moment_, copy_, decay_end_, options_.beta1, options_.beta2,
                   options_.eps, options_.weight_decay, schedule_, clip_});
}

void AdamW::CountStep() { ++step_; }

double AdamW::GradientNorm() const { return clip_[kernels::clip::kNorm].item<double>(); }

void AdamW::set_step(std::int64_t step) { step_ = step; }

AdamW::NamedTensors AdamW::NamedState() const {
  NamedTensors state;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const auto sizes = parameters_[i].second.sizes();
    state.emplace_back("exp_avg." + segments_[i].name, View(first_moment_, segments_[i]).view(sizes));
    state.emplace_back("exp_avg_sq." + segments_[i].name, View(second_moment_, segments_[i]).view(sizes));
  }
  return state;
}

}  // namespace entrain::trainer
