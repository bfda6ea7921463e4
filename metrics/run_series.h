// The series of one run on the worker that hosts its rank 0. They end with this object. Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "domain/sample.h"
#include "metrics/families.h"
#include "metrics/window_min.h"
#include "metrics/worker_metrics.h"

namespace entrain::metrics {

class RunSeries {
 public:
  // `with_heads`: per-head series beside the per-layer ones.
  RunSeries(Families* families, const RunLabels& labels, bool with_heads, std::int64_t window_ms);

  void SetAttempt(std::uint32_t attempt);
  void Observe(const domain::EntropySample& sample, std::int64_t boot_ms, std::int64_t wall_ms);
  void Observe(const domain::Evaluation& evaluation);
  // Brings the window minima to `boot_ms`.
  void ExpireWindow(std::int64_t boot_ms);
  // Heads with series of their own.
  std::int64_t head_series() const { return with_heads_ ? labels_.n_layer * labels_.n_head : 0; }

 private:
  static constexpr std::size_t kStats = 6;
  struct Head {
    prometheus::Gauge* entropy;
    prometheus::Gauge* window_min_gauge;
    WindowMin window_min;
  };

  prometheus::Labels RunLabel() const;
  prometheus::Labels LayerLabel(std::int64_t layer) const;
  prometheus::Gauge* RunGauge(MetricId id) { return group_.AddGauge(id, RunLabel()); }
  void MakeScalarSeries();
  void MakeEntropySeries();
  void ObserveScalars(const domain::EntropySample& sample, std::int64_t wall_ms);
  void ObserveEntropies(const std::vector<float>& entropy_nats, std::int64_t boot_ms);
  void ObserveLayers(const std::vector<float>& entropy_nats);
  void ObserveQuarters(const std::vector<float>& entropy_nats);
  void ObserveMaxAbsScore(const std::vector<float>& max_abs_score);
  void ObserveTheta(const std::vector<float>& theta);
  std::size_t Heads() const { return static_cast<std::size_t>(labels_.n_layer * labels_.n_head); }

  Families* families_;
  RunLabels labels_;
  bool with_heads_;
  std::int64_t window_ms_;
  SeriesGroup group_;
  std::optional<SeriesGroup> info_;
  // Made with the first value.
  struct Scalars {
    prometheus::Gauge *step, *loss, *regulariser, *gradient_norm, *learning_rate, *tokens_per_second, *last_sample;
    prometheus::Counter* tokens;
  };
  std::optional<Scalars> scalars_;
  prometheus::Gauge* eval_loss_ = nullptr;
  prometheus::Gauge* eval_step_ = nullptr;
  std::vector<Head> heads_;
  std::vector<std::array<prometheus::Gauge*, kStats>> layers_;
  std::vector<prometheus::Gauge*> quarters_;
  std::vector<prometheus::Gauge*> max_abs_score_;
  std::vector<prometheus::Gauge*> theta_;
};

}  // namespace entrain::metrics
