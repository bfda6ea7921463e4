#include "metrics/run_series.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <string>

#include "domain/model_config.h"

namespace entrain::metrics {
namespace {

using enum MetricId;

bool AnyNan(std::span<const float> values) {
  return std::any_of(values.begin(), values.end(), [](float value) { return std::isnan(value); });
}

// Linear between the two nearest ranks; `sorted` is not empty.
double Quantile(const std::vector<float>& sorted, double q) {
  const double rank = q * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(rank);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (rank - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

double Mean(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// In the order of the label's values: min, p25, median, p75, max, mean. All NaN if a head is.
std::array<double, 6> LayerStats(std::span<const float> heads) {
  std::array<double, 6> stats;
  stats.fill(std::numeric_limits<double>::quiet_NaN());
  if (AnyNan(heads)) return stats;
  std::vector<float> sorted(heads.begin(), heads.end());
  std::sort(sorted.begin(), sorted.end());
  for (std::size_t i = 0; i < 5; ++i) stats[i] = Quantile(sorted, 0.25 * static_cast<double>(i));
  stats[5] = Mean(heads);
  return stats;
}

}  // namespace

RunSeries::RunSeries(Families* families, const RunLabels& labels, bool with_heads, std::int64_t window_ms)
    : families_(families), labels_(labels), with_heads_(with_heads), window_ms_(window_ms), group_(families) {
  RunGauge(kRunTargetSteps)->Set(static_cast<double>(labels.steps));
  RunGauge(kRunEntropyBound)->Set(domain::EntropyBoundNats(labels.context));
}

prometheus::Labels RunSeries::RunLabel() const { return {{"run", labels_.run_id}}; }

prometheus::Labels RunSeries::LayerLabel(std::int64_t layer) const {
  return {{"run", labels_.run_id}, {"layer", std::to_string(layer)}};
}

void RunSeries::SetAttempt(std::uint32_t attempt) {
  info_.reset();
  info_.emplace(families_);
  info_->AddGauge(kRunInfo, {{"run", labels_.run_id},
                             {"sweep", labels_.sweep},
                             {"variant", labels_.variant},
                             {"label", labels_.label},
                             {"attempt", std::to_string(attempt)}})
      ->Set(1);
}

void RunSeries::MakeScalarSeries() {
  scalars_ = Scalars{.step = RunGauge(kRunStep),
                     .loss = RunGauge(kRunLoss),
                     .regulariser = RunGauge(kRunRegulariser),
                     .gradient_norm = RunGauge(kRunGradientNorm),
                     .learning_rate = RunGauge(kRunLearningRate),
                     .tokens_per_second = RunGauge(kRunTokensPerSecond),
                     .last_sample = RunGauge(kRunLastSample),
                     .tokens = group_.AddCounter(kRunTokens, RunLabel())};
}

void RunSeries::MakeEntropySeries() {
  for (std::string_view quarter : KnownValues(kRunHeads)) {
    quarters_.push_back(group_.AddGauge(kRunHeads, {{"run", labels_.run_id}, {"quarter", std::string(quarter)}}));
  }
  for (std::int64_t layer = 0; layer < labels_.n_layer; ++layer) {
    auto& stats = layers_.emplace_back();
    for (std::size_t i = 0; i < kStats; ++i) {
      prometheus::Labels labels = LayerLabel(layer);
      labels["stat"] = std::string(KnownValues(kLayerEntropy)[i]);
      stats[i] = group_.AddGauge(kLayerEntropy, labels);
    }
    for (std::int64_t head = 0; with_heads_ && head < labels_.n_head; ++head) {
      prometheus::Labels labels = LayerLabel(layer);
      labels["head"] = std::to_string(head);
      heads_.push_back({group_.AddGauge(kHeadEntropy, labels), group_.AddGauge(kHeadEntropyWindowMin, labels),
                        WindowMin(window_ms_)});
    }
  }
}

void RunSeries::Observe(const domain::EntropySample& sample, std::int64_t boot_ms, std::int64_t wall_ms) {
  ObserveScalars(sample, wall_ms);
  if (Heads() > 0 && sample.entropy_nats.size() == Heads()) ObserveEntropies(sample.entropy_nats, boot_ms);
  if (sample.max_abs_score.size() == static_cast<std::size_t>(labels_.n_layer)) ObserveMaxAbsScore(sample.max_abs_score);
  if (Heads() > 0 && sample.theta.size() == Heads()) ObserveTheta(sample.theta);
}

void RunSeries::ObserveScalars(const domain::EntropySample& sample, std::int64_t wall_ms) {
  if (!scalars_) MakeScalarSeries();
  scalars_->step->Set(static_cast<double>(sample.step));
  scalars_->loss->Set(sample.loss);
  scalars_->regulariser->Set(sample.reg);
  scalars_->gradient_norm->Set(sample.grad_norm);
  scalars_->learning_rate->Set(sample.lr);
  scalars_->tokens_per_second->Set(sample.tokens_per_second);
  scalars_->last_sample->Set(static_cast<double>(wall_ms) / 1000.0);
  const double further = static_cast<double>(sample.tokens) - scalars_->tokens->Value();
  if (further > 0) scalars_->tokens->Increment(further);
}

void RunSeries::ObserveEntropies(const std::vector<float>& entropy_nats, std::int64_t boot_ms) {
  if (layers_.empty()) MakeEntropySeries();
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    heads_[i].entropy->Set(entropy_nats[i]);
    heads_[i].window_min.Add(boot_ms, entropy_nats[i]);
    heads_[i].window_min_gauge->Set(heads_[i].window_min.value());
  }
  ObserveLayers(entropy_nats);
  ObserveQuarters(entropy_nats);
}

void RunSeries::ObserveLayers(const std::vector<float>& entropy_nats) {
  const auto width = static_cast<std::size_t>(labels_.n_head);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    const auto stats = LayerStats(std::span(entropy_nats).subspan(layer * width, width));
    for (std::size_t i = 0; i < kStats; ++i) layers_[layer][i]->Set(stats[i]);
  }
}

void RunSeries::ObserveQuarters(const std::vector<float>& entropy_nats) {
  std::array<double, 4> counts{};
  const double quarter_nats = std::log(static_cast<double>(std::max<std::int64_t>(labels_.context, 2))) / 4.0;
  for (float value : entropy_nats) {
    if (std::isnan(value)) continue;
    counts[static_cast<std::size_t>(std::clamp(value / quarter_nats, 0.0, 3.0))] += 1;
  }
  for (std::size_t i = 0; i < counts.size(); ++i) quarters_[i]->Set(counts[i]);
}

void RunSeries::ObserveMaxAbsScore(const std::vector<float>& max_abs_score) {
  if (max_abs_score_.empty()) {
    for (std::int64_t layer = 0; layer < labels_.n_layer; ++layer) {
      max_abs_score_.push_back(group_.AddGauge(kLayerMaxAbsScore, LayerLabel(layer)));
    }
  }
  for (std::size_t layer = 0; layer < max_abs_score.size(); ++layer) max_abs_score_[layer]->Set(max_abs_score[layer]);
}

void RunSeries::ObserveTheta(const std::vector<float>& theta) {
  const auto width = static_cast<std::size_t>(labels_.n_head);
  if (theta_.empty()) {
    for (std::int64_t layer = 0; layer < labels_.n_layer; ++layer) {
      theta_.push_back(group_.AddGauge(kLayerTheta, LayerLabel(layer)));
    }
  }
  for (std::size_t layer = 0; layer < theta_.size(); ++layer) {
    theta_[layer]->Set(Mean(std::span(theta).subspan(layer * width, width)));
  }
}

void RunSeries::Observe(const domain::Evaluation& evaluation) {
  if (eval_loss_ == nullptr) {
    eval_loss_ = RunGauge(kRunEvalLoss);
    eval_step_ = RunGauge(kRunEvalStep);
  }
  eval_loss_->Set(evaluation.loss);
  eval_step_->Set(static_cast<double>(evaluation.step));
}

void RunSeries::ExpireWindow(std::int64_t boot_ms) {
  for (Head& head : heads_) {
    head.window_min.ExpireTo(boot_ms);
    head.window_min_gauge->Set(head.window_min.value());
  }
}

}  // namespace entrain::metrics
