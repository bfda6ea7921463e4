// Rules that compare one number of every sample with a limit, sustained: overload and the largest attention score.
#include <cmath>
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

Verdict SustainedVerdict(std::string rule, domain::HaltReason reason, const Episodes::Episode& episode, double limit) {
  Verdict verdict;
  verdict.step = episode.counted_steps.back();
  verdict.reason = reason;
  verdict.rule = std::move(rule);
  verdict.steps = episode.counted_steps;
  verdict.values = episode.values;
  verdict.limit = limit;
  return verdict;
}

class OverloadRuleImpl : public Rule {
 public:
  OverloadRuleImpl(const domain::OverloadRule& rule, const RunShape& shape)
      : rule_(rule),
        bound_nats_(domain::EntropyBoundNats(shape.context)),
        episode_(2, AtLeastSteps(rule.sustained_steps, rule.sustained_fraction, shape)) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    if (sample.entropy_nats.empty() || bound_nats_ <= 0.0) return std::nullopt;
    std::vector<std::int32_t> heads;
    for (std::size_t head = 0; head < sample.entropy_nats.size(); ++head) {
      if (static_cast<double>(sample.entropy_nats[head]) >= rule_.above_fraction_of_bound * bound_nats_) heads.push_back(static_cast<std::int32_t>(head));
    }
    const double share = static_cast<double>(heads.size()) / static_cast<double>(sample.entropy_nats.size());
    const Episodes::Episode* fired = episode_.Observe(sample.step, share >= rule_.share_of_heads, share);
    if (fired == nullptr) return std::nullopt;
    Verdict verdict = SustainedVerdict("overload", domain::HaltReason::kOverload, *fired, rule_.share_of_heads);
    verdict.explanation = StrCat(heads.size(), " of ", sample.entropy_nats.size(), " heads at or above ", Short(rule_.above_fraction_of_bound),
                                 " of the bound (", Short(bound_nats_), " nats) since step ", fired->counted_steps.front(), ": ",
                                 Percent(share), ", limit ", Percent(rule_.share_of_heads));
    verdict.heads = std::move(heads);
    return verdict;
  }

 private:
  domain::OverloadRule rule_;
  double bound_nats_;
  Episodes episode_;
};

class ScoreRuleImpl : public Rule {
 public:
  ScoreRuleImpl(const domain::ScoreRule& rule, const RunShape& shape)
      : rule_(rule), episode_(2, AtLeastSteps(rule.sustained_steps, rule.sustained_fraction, shape)) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    std::size_t layer = 0;
    for (std::size_t other = 1; other < sample.max_abs_score.size(); ++other) {
      if (sample.max_abs_score[other] > sample.max_abs_score[layer]) layer = other;
    }
    const double score = sample.max_abs_score.empty() ? 0.0 : static_cast<double>(sample.max_abs_score[layer]);
    const Episodes::Episode* fired = episode_.Observe(sample.step, score > rule_.above, score);
    if (fired == nullptr) return std::nullopt;
    Verdict verdict = SustainedVerdict("max_score", domain::HaltReason::kDivergence, *fired, rule_.above);
    verdict.layers = {static_cast<std::int32_t>(layer)};
    verdict.explanation = StrCat("layer ", layer, ": the largest attention score is ", Short(score), " at step ", sample.step, ", above ",
                                 Short(rule_.above), " since step ", fired->counted_steps.front());
    return verdict;
  }

 private:
  domain::ScoreRule rule_;
  Episodes episode_;
};

}  // namespace

std::unique_ptr<Rule> MakeOverloadRule(const domain::OverloadRule& rule, const RunShape& shape) {
  return std::make_unique<OverloadRuleImpl>(rule, shape);
}
std::unique_ptr<Rule> MakeScoreRule(const domain::ScoreRule& rule, const RunShape& shape) { return std::make_unique<ScoreRuleImpl>(rule, shape); }

}  // namespace entrain::policy
