#include "worker/trainer/optimizer.h"

#include <ATen/ops/_fused_adamw.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace entrain::trainer {
namespace {

using torch::Tensor;

// Segments start at multiples of this many elements, so that matrices stay aligned to a cache line.
constexpr std::int64_t kAlignment = 16;
constexpr double kClipEpsilon = 1e-6;
// Squares are summed in single precision over this many elements at most; a float32 sum over a whole model loses digits.
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

double AdamW::ClipGradients(double max_norm, double scale) {
  const Tensor block_norms = at::linalg_vector_norm(gradient_.view({-1, kNormBlock}), 2, {1});
  const double norm = at::linalg_vector_norm(block_norms.to(torch::kFloat64)).item<double>() * scale;
  if (!std::isfinite(norm)) return norm;
  const double clip = max_norm > 0.0 ? std::min(1.0, max_norm / (norm + kClipEpsilon)) : 1.0;
  if (scale * clip != 1.0) gradient_.mul_(scale * clip);
  return norm;
}

void AdamW::Step(double lr) {
  const torch::NoGradGuard no_grad;
  ++step_;
  StepRange(0, decay_end_, lr, options_.weight_decay);
  StepRange(decay_end_, parameter_.numel(), lr, 0.0);
}

void AdamW::StepRange(std::int64_t begin, std::int64_t end, double lr, double weight_decay) {
  if (begin == end) return;
  const auto range = [&](const Tensor& flat) { return std::vector<Tensor>{flat.narrow(0, begin, end - begin)}; };
  const std::vector<Tensor> step = {at::full({}, static_cast<double>(step_), parameter_.options().dtype(torch::kFloat32))};
  at::_fused_adamw_(range(parameter_), range(gradient_), range(first_moment_), range(second_moment_), {}, step, lr,
                    options_.beta1, options_.beta2, weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false);
}

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
