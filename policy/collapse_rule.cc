#include <algorithm>
#include <string>

#include "base/strings.h"
#include "domain/model_config.h"
#include "policy/episodes.h"
#include "policy/number_text.h"
#include "policy/rule.h"

namespace entrain::policy {
namespace {

using domain::EntropySample;
using domain::Verdict;

std::string StepsText(const std::vector<std::int64_t>& steps) {
  std::vector<std::string> texts;
  for (const std::int64_t step : steps) texts.push_back(StrCat(step));
  return StrCat(steps.size() == 1 ? "step " : "steps ", List(texts));
}

std::string ValuesText(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) StrAppend(&text, text.empty() ? "" : ", ", Decimal(value));
  return text;
}

class CollapseRuleImpl : public Rule {
 public:
  CollapseRuleImpl(const domain::CollapseRule& rule, const RunShape& shape)
      : rule_(rule),
        shape_(shape),
        bound_nats_(domain::EntropyBoundNats(shape.context)),
        layers_(static_cast<std::size_t>(shape.n_layer), Episodes(rule.observations, GapSteps(rule, shape))),
        share_(rule.observations, GapSteps(rule, shape)) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    // A trainer of another shape, or a context of one token, whose entropy is 0 by definition: nothing to judge.
    if (static_cast<std::int64_t>(sample.entropy_nats.size()) != Heads() || bound_nats_ <= 0.0) return std::nullopt;
    std::optional<Verdict> whole_layer = ObserveLayers(sample);
    std::optional<Verdict> share = ObserveShare(sample);
    return whole_layer.has_value() ? whole_layer : share;
  }

 private:
  static std::int64_t GapSteps(const domain::CollapseRule& rule, const RunShape& shape) {
    return AtLeastSteps(rule.min_gap_steps, rule.min_gap_fraction, shape);
  }
  std::int64_t Heads() const { return shape_.n_layer * shape_.n_head; }

  double Fraction(const EntropySample& sample, std::int64_t head) const {
    return static_cast<double>(sample.entropy_nats[static_cast<std::size_t>(head)]) / bound_nats_;
  }
  bool Collapsed(const EntropySample& sample, std::int64_t head) const {
    const double fraction = Fraction(sample, head);
    // A comparison with NaN is false; minus infinity is no entropy.
    return fraction < rule_.below_fraction_of_bound && std::isfinite(fraction);
  }

  std::string BoundText() const {
    return StrCat("below ", Short(rule_.below_fraction_of_bound), " of the bound (", Short(bound_nats_), " nats)");
  }

  // Every layer's memory sees every sample; of those that fire at the same step, the first layer is named and counted.
  std::optional<Verdict> ObserveLayers(const EntropySample& sample) {
    std::optional<Verdict> verdict;
    for (std::int64_t layer = 0; layer < shape_.n_layer; ++layer) {
      double largest = 0.0;
      bool all = true;
      for (std::int64_t head = layer * shape_.n_head; head < (layer + 1) * shape_.n_head; ++head) {
        all = all && Collapsed(sample, head);
        largest = std::max(largest, Fraction(sample, head));
      }
      const Episodes::Episode* fired =
          layers_[static_cast<std::size_t>(layer)].Observe(sample.step, rule_.whole_layer && all, largest);
      if (fired != nullptr && !verdict.has_value()) verdict = LayerVerdict(layer, *fired);
    }
    return verdict;
  }

  Verdict LayerVerdict(std::int64_t layer, const Episodes::Episode& episode) const {
    Verdict verdict = Base("collapse.whole_layer", episode, rule_.below_fraction_of_bound);
    verdict.layers = {static_cast<std::int32_t>(layer)};
    for (std::int64_t head = layer * shape_.n_head; head < (layer + 1) * shape_.n_head; ++head) {
      verdict.heads.push_back(static_cast<std::int32_t>(head));
    }
    verdict.explanation = StrCat("layer ", layer, ": ", shape_.n_head == 1 ? "its only head" : StrCat("all ", shape_.n_head, " heads"),
                                 " ", BoundText(), " at ", StepsText(episode.counted_steps), ": ", ValuesText(episode.values));
    return verdict;
  }

  std::optional<Verdict> ObserveShare(const EntropySample& sample) {
    std::vector<std::int32_t> heads;
    for (std::int64_t head = 0; head < Heads(); ++head) {
      if (Collapsed(sample, head)) heads.push_back(static_cast<std::int32_t>(head));
    }
    const double share = static_cast<double>(heads.size()) / static_cast<double>(Heads());
    const bool holds = !heads.empty() && share >= rule_.share_of_heads;
    const Episodes::Episode* fired = share_.Observe(sample.step, holds, share);
    if (fired == nullptr) return std::nullopt;
    Verdict verdict = Base("collapse.share_of_heads", *fired, rule_.share_of_heads);
    verdict.heads = std::move(heads);
    verdict.layers = LayersOf(verdict.heads, shape_.n_head);
    std::vector<std::string> shares;
    for (const double value : fired->values) shares.push_back(Percent(value));
    verdict.explanation = StrCat(verdict.heads.size(), " of ", Heads(), " heads ", BoundText(), "; share of heads at ",
                                 StepsText(fired->counted_steps), ": ", List(shares), ", limit ", Percent(rule_.share_of_heads));
    return verdict;
  }

  static std::vector<std::int32_t> LayersOf(const std::vector<std::int32_t>& heads, std::int64_t n_head) {
    std::vector<std::int32_t> layers;
    for (const std::int32_t head : heads) {
      const auto layer = static_cast<std::int32_t>(head / n_head);
      if (layers.empty() || layers.back() != layer) layers.push_back(layer);
    }
    return layers;
  }

  static Verdict Base(std::string rule, const Episodes::Episode& episode, double limit) {
    Verdict verdict;
    verdict.step = episode.counted_steps.back();
    verdict.reason = domain::HaltReason::kCollapse;
    verdict.rule = std::move(rule);
    verdict.steps = episode.counted_steps;
    verdict.values = episode.values;
    verdict.limit = limit;
    return verdict;
  }

  domain::CollapseRule rule_;
  RunShape shape_;
  double bound_nats_;
  std::vector<Episodes> layers_;
  Episodes share_;
};

}  // namespace

std::unique_ptr<Rule> MakeCollapseRule(const domain::CollapseRule& rule, const RunShape& shape) {
  return std::make_unique<CollapseRuleImpl>(rule, shape);
}

}  // namespace entrain::policy
