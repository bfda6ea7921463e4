#include <cmath>
#include <deque>
#include <string>
#include <vector>

#include "base/strings.h"
#include "domain/model_config.h"
#include "policy/episodes.h"
#include "policy/number_text.h"
#include "policy/rule.h"

namespace entrain::policy {
namespace {

using domain::EntropySample;
using domain::Verdict;

// Only a layer this far down can be falling towards the end: what dips from the bound to the middle is training.
constexpr double kFallingCeiling = 0.3;
constexpr std::size_t kLeastPoints = 3;
// Of the slope's window: a longer one is remembered in even strides, so that a run of any length costs the same memory and time.
constexpr std::int64_t kMostPoints = 256;

// Mean entropy of every layer at one step, as shares of U.
struct LayerPoint {
  std::int64_t step = 0;
  std::vector<double> means;
};

// Least squares, a step; 0 for fewer than three points.
double SlopeOf(const std::deque<LayerPoint>& points, std::size_t layer) {
  if (points.size() < kLeastPoints) return 0.0;
  const auto n = static_cast<double>(points.size());
  double mean_step = 0.0;
  double mean_value = 0.0;
  for (const LayerPoint& point : points) {
    mean_step += static_cast<double>(point.step) / n;
    mean_value += point.means[layer] / n;
  }
  double covariance = 0.0;
  double variance = 0.0;
  for (const LayerPoint& point : points) {
    const double distance = static_cast<double>(point.step) - mean_step;
    covariance += distance * (point.means[layer] - mean_value);
    variance += distance * distance;
  }
  return covariance / variance;
}

class CascadeRuleImpl : public Rule {
 public:
  CascadeRuleImpl(const domain::CollapseRule& rule, const RunShape& shape)
      : rule_(rule),
        shape_(shape),
        bound_nats_(domain::EntropyBoundNats(shape.context)),
        sustained_steps_(std::max<std::int64_t>(2, AtLeastSteps(rule.cascade_steps, rule.cascade_fraction, shape))),
        half_steps_(std::max<std::int64_t>(2, sustained_steps_ / 2)),
        stride_(std::max<std::int64_t>(1, (half_steps_ + kMostPoints - 1) / kMostPoints)),
        episode_(2, sustained_steps_) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    if (static_cast<std::int64_t>(sample.entropy_nats.size()) != shape_.n_layer * shape_.n_head || bound_nats_ <= 0.0) return std::nullopt;
    Remember(sample);
    std::vector<std::int32_t> gone;
    std::vector<std::int32_t> falling;
    for (std::int64_t layer = 0; layer < shape_.n_layer; ++layer) {
      if (Gone(sample, layer)) gone.push_back(static_cast<std::int32_t>(layer));
      else if (Falling(static_cast<std::size_t>(layer))) falling.push_back(static_cast<std::int32_t>(layer));
    }
    const auto layers = static_cast<std::int64_t>(gone.size() + falling.size());
    const bool holds = !gone.empty() && layers >= rule_.cascade_layers;
    const Episodes::Episode* fired = episode_.Observe(sample.step, holds, static_cast<double>(layers));
    if (fired == nullptr) return std::nullopt;
    return MakeVerdict(sample, *fired, gone, falling);
  }

 private:
  double Share(const EntropySample& sample, std::int64_t head) const {
    return static_cast<double>(sample.entropy_nats[static_cast<std::size_t>(head)]) / bound_nats_;
  }

  void Remember(const EntropySample& sample) {
    LayerPoint point;
    point.step = sample.step;
    for (std::int64_t layer = 0; layer < shape_.n_layer; ++layer) {
      double sum = 0.0;
      for (std::int64_t head = layer * shape_.n_head; head < (layer + 1) * shape_.n_head; ++head) sum += Share(sample, head);
      point.means.push_back(sum / static_cast<double>(shape_.n_head));
    }
    newest_ = point.means;
    if (points_.empty() || point.step / stride_ != points_.back().step / stride_) points_.push_back(std::move(point));
    while (!points_.empty() && points_.front().step <= sample.step - half_steps_) points_.pop_front();
  }

  bool Gone(const EntropySample& sample, std::int64_t layer) const {
    for (std::int64_t head = layer * shape_.n_head; head < (layer + 1) * shape_.n_head; ++head) {
      const double share = Share(sample, head);
      if (!(share < rule_.cascade_below) || !std::isfinite(share)) return false;
    }
    return true;
  }

  bool Falling(std::size_t layer) const {
    const double mean = newest_[layer];
    const double slope = SlopeOf(points_, layer);
    return mean < kFallingCeiling && slope < 0.0 && mean + slope * static_cast<double>(half_steps_) < rule_.cascade_below;
  }

  std::string FallingText(const std::vector<std::int32_t>& falling) const {
    std::vector<std::string> texts;
    for (const std::int32_t layer : falling) {
      const auto index = static_cast<std::size_t>(layer);
      texts.push_back(StrCat(layer, " (", Decimal(newest_[index]), ", ", Decimal(SlopeOf(points_, index)), " a step)"));
    }
    return List(texts);
  }

  static std::string Names(const std::vector<std::int32_t>& layers) {
    std::vector<std::string> texts;
    for (const std::int32_t layer : layers) texts.push_back(StrCat(layer));
    return StrCat(layers.size() == 1 ? "layer " : "layers ", List(texts));
  }

  Verdict MakeVerdict(const EntropySample& sample, const Episodes::Episode& episode, const std::vector<std::int32_t>& gone,
                      const std::vector<std::int32_t>& falling) const {
    Verdict verdict;
    verdict.step = sample.step;
    verdict.reason = domain::HaltReason::kCollapse;
    verdict.rule = "collapse.cascade";
    verdict.layers = gone;
    verdict.layers.insert(verdict.layers.end(), falling.begin(), falling.end());
    std::sort(verdict.layers.begin(), verdict.layers.end());
    for (const std::int32_t layer : gone) {
      for (std::int64_t head = layer * shape_.n_head; head < (layer + 1) * shape_.n_head; ++head) {
        verdict.heads.push_back(static_cast<std::int32_t>(head));
      }
    }
    verdict.steps = episode.counted_steps;
    verdict.values = episode.values;
    verdict.limit = static_cast<double>(rule_.cascade_layers);
    verdict.explanation =
        StrCat(Names(gone), ": every head below ", Short(rule_.cascade_below), " of the bound (", Short(bound_nats_), " nats)",
               falling.empty() ? "" : StrCat(", falling towards it: ", FallingText(falling)), "; ", Short(episode.values.front()), " layers at step ",
               episode.counted_steps.front(), ", ", Short(episode.values.back()), " at step ", sample.step, ", limit ", rule_.cascade_layers);
    return verdict;
  }

  domain::CollapseRule rule_;
  RunShape shape_;
  double bound_nats_;
  std::int64_t sustained_steps_;
  std::int64_t half_steps_;
  std::int64_t stride_;  // of what is remembered
  Episodes episode_;
  std::vector<double> newest_;     // means of the last sample
  std::deque<LayerPoint> points_;  // of the last half_steps_, one a stride
};

}  // namespace

std::unique_ptr<Rule> MakeCascadeRule(const domain::CollapseRule& rule, const RunShape& shape) {
  return std::make_unique<CascadeRuleImpl>(rule, shape);
}

}  // namespace entrain::policy
