// Rules on the training loss: spike, divergence, plateau.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/strings.h"
#include "policy/episodes.h"
#include "policy/loss_window.h"
#include "policy/number_text.h"
#include "policy/rule.h"

namespace entrain::policy {
namespace {

using domain::EntropySample;
using domain::Verdict;

double MiddleOf(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class SpikeRuleImpl : public Rule {
 public:
  explicit SpikeRuleImpl(const domain::SpikeRule& rule) : rule_(rule), window_(rule.window_steps), episode_(rule.observations, 1) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    if (!window_.Filled()) {
      window_.Add(sample.step, sample.loss);
      return std::nullopt;
    }
    const double median = window_.Median();
    const double limit = median + std::max(rule_.at_least_nats, rule_.spreads * window_.Spread());
    const bool above = sample.loss > limit;
    const Episodes::Episode* fired = episode_.Observe(sample.step, above, sample.loss);
    // The baseline does not learn from what is far off it.
    if (!above) window_.Add(sample.step, sample.loss);
    if (fired == nullptr) return std::nullopt;
    Verdict verdict;
    verdict.step = sample.step;
    verdict.reason = domain::HaltReason::kDivergence;
    verdict.rule = "spike";
    verdict.steps = fired->counted_steps;
    verdict.values = fired->values;
    verdict.limit = limit;
    verdict.explanation = StrCat("the loss is ", Decimal(sample.loss), " at step ", sample.step, ", above ", Decimal(limit), " for ",
                                 fired->counted_steps.size(), " observations; the median before is ", Decimal(median), ", the spread ",
                                 Decimal(window_.Spread()));
    return verdict;
  }

 private:
  domain::SpikeRule rule_;
  LossWindow window_;
  Episodes episode_;
};

class DivergenceRuleImpl : public Rule {
 public:
  DivergenceRuleImpl(const domain::DivergenceRule& rule, const RunShape& shape)
      : rule_(rule), window_(rule.window_steps), episode_(2, AtLeastSteps(rule.sustained_steps, rule.sustained_fraction, shape)) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    window_.Add(sample.step, sample.loss);
    if (!window_.Filled()) return std::nullopt;
    const double median = window_.Median();
    if (median < best_) {
      best_ = median;
      best_step_ = sample.step;
    }
    const Episodes::Episode* fired = episode_.Observe(sample.step, median - best_ >= rule_.above_best_nats, median);
    if (fired == nullptr) return std::nullopt;
    Verdict verdict;
    verdict.step = sample.step;
    verdict.reason = domain::HaltReason::kDivergence;
    verdict.rule = "divergence";
    verdict.steps = fired->counted_steps;
    verdict.values = fired->values;
    verdict.limit = best_ + rule_.above_best_nats;
    verdict.explanation = StrCat("the median loss of ", rule_.window_steps, " steps is ", Decimal(median), " at step ", sample.step, ", ",
                                 Decimal(median - best_), " nats above its best (", Decimal(best_), " at step ", best_step_, "), since step ",
                                 fired->counted_steps.front());
    return verdict;
  }

 private:
  domain::DivergenceRule rule_;
  LossWindow window_;
  Episodes episode_;
  double best_ = std::numeric_limits<double>::infinity();
  std::int64_t best_step_ = 0;
};

class PlateauRuleImpl : public Rule {
 public:
  PlateauRuleImpl(const domain::PlateauRule& rule, const RunShape& shape)
      : rule_(rule), window_(rule.window_steps), sustained_steps_(AtLeastSteps(rule.sustained_steps, rule.sustained_fraction, shape)) {}

  std::optional<Verdict> Observe(const EntropySample& sample) override {
    window_.Add(sample.step, sample.loss);
    if (!window_.Filled()) return std::nullopt;
    const double median = window_.Median();
    if (median < best_ - rule_.min_improvement_nats) {
      best_ = median;
      best_step_ = sample.step;
    }
    if (sample.step - best_step_ < sustained_steps_) return std::nullopt;
    Verdict verdict;
    verdict.step = sample.step;
    verdict.reason = domain::HaltReason::kPlateau;
    verdict.rule = "plateau";
    verdict.steps = {best_step_, sample.step};
    verdict.values = {best_, median};
    verdict.limit = best_ - rule_.min_improvement_nats;
    verdict.explanation = StrCat("the median loss of ", rule_.window_steps, " steps is ", Decimal(median), " at step ", sample.step,
                                 " and was ", Decimal(best_), " at step ", best_step_, ": no gain of ", Short(rule_.min_improvement_nats),
                                 " nats in ", sample.step - best_step_, " steps");
    return verdict;
  }

 private:
  domain::PlateauRule rule_;
  LossWindow window_;
  std::int64_t sustained_steps_;
  double best_ = std::numeric_limits<double>::infinity();
  std::int64_t best_step_ = 0;
};

}  // namespace

LossWindow::LossWindow(std::int64_t window_steps) : window_steps_(std::max<std::int64_t>(3, window_steps)) {}

void LossWindow::Add(std::int64_t step, double loss) {
  if (first_step_ == 0) first_step_ = step;
  if (std::isfinite(loss)) losses_.emplace_back(step, loss);
  while (!losses_.empty() && losses_.front().first <= step - window_steps_) losses_.pop_front();
}

bool LossWindow::Filled() const {
  return losses_.size() >= 3 && losses_.back().first - first_step_ >= window_steps_ / 5;
}

double LossWindow::Median() const {
  std::vector<double> values;
  for (const auto& [step, loss] : losses_) values.push_back(loss);
  return MiddleOf(std::move(values));
}

double LossWindow::Spread() const {
  const double median = Median();
  std::vector<double> distances;
  for (const auto& [step, loss] : losses_) distances.push_back(std::abs(loss - median));
  return 1.4826 * MiddleOf(std::move(distances));
}

std::unique_ptr<Rule> MakeSpikeRule(const domain::SpikeRule& rule) { return std::make_unique<SpikeRuleImpl>(rule); }
std::unique_ptr<Rule> MakeDivergenceRule(const domain::DivergenceRule& rule, const RunShape& shape) {
  return std::make_unique<DivergenceRuleImpl>(rule, shape);
}
std::unique_ptr<Rule> MakePlateauRule(const domain::PlateauRule& rule, const RunShape& shape) {
  return std::make_unique<PlateauRuleImpl>(rule, shape);
}

}  // namespace entrain::policy
