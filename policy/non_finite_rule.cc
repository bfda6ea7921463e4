#include <cmath>
#include <string>
#include <utility>

#include "base/strings.h"
#include "policy/number_text.h"
#include "policy/rule.h"

namespace entrain::policy {
namespace {

using domain::EntropySample;
using domain::Verdict;

Verdict Base(const EntropySample& sample, std::string rule, double value, std::string explanation) {
  Verdict verdict;
  verdict.step = sample.step;
  verdict.reason = domain::HaltReason::kNonFinite;
  verdict.rule = std::move(rule);
  verdict.steps = {sample.step};
  verdict.values = {value};
  verdict.explanation = std::move(explanation);
  return verdict;
}

// Needs no memory: it looks at one sample.
class NonFiniteRuleImpl : public Rule {
 public:
  explicit NonFiniteRuleImpl(const RunShape& shape) : shape_(shape) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    if (!std::isfinite(sample.loss)) {
      return Base(sample, "non_finite.loss", sample.loss, StrCat("the loss is ", Decimal(sample.loss), " at step ", sample.step));
    }
    if (!std::isfinite(sample.grad_norm)) {
      return Base(sample, "non_finite.grad_norm", sample.grad_norm,
                  StrCat("the gradient norm is ", Decimal(sample.grad_norm), " at step ", sample.step));
    }
    if (auto verdict = Scores(sample)) return verdict;
    return Entropies(sample);
  }

 private:
  std::optional<Verdict> Scores(const EntropySample& sample) const {
    for (std::size_t layer = 0; layer < sample.max_abs_score.size(); ++layer) {
      const double score = sample.max_abs_score[layer];
      if (std::isfinite(score)) continue;
      return Base(sample, "non_finite.score", score,
                  StrCat("layer ", layer, ": the largest attention score is ", Decimal(score), " at step ", sample.step));
    }
    return std::nullopt;
  }

  std::optional<Verdict> Entropies(const EntropySample& sample) const {
    std::vector<std::int32_t> heads;
    for (std::size_t head = 0; head < sample.entropy_nats.size(); ++head) {
      if (!std::isfinite(sample.entropy_nats[head])) heads.push_back(static_cast<std::int32_t>(head));
    }
    if (heads.empty()) return std::nullopt;
    const double value = sample.entropy_nats[static_cast<std::size_t>(heads.front())];
    const std::int64_t n_head = std::max<std::int64_t>(1, shape_.n_head);
    Verdict verdict = Base(sample, "non_finite.entropy", value,
                           StrCat("layer ", heads.front() / n_head, " head ", heads.front() % n_head, ": the entropy is ",
                                  Decimal(value), " at step ", sample.step, " (", heads.size(), " of ",
                                  sample.entropy_nats.size(), " heads not finite)"));
    verdict.heads = std::move(heads);
    return verdict;
  }

  RunShape shape_;
};

}  // namespace

std::unique_ptr<Rule> MakeNonFiniteRule(const RunShape& shape) { return std::make_unique<NonFiniteRuleImpl>(shape); }

}  // namespace entrain::policy
