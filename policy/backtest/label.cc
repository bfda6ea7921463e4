#include "policy/backtest/label.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "domain/model_config.h"

namespace entrain::policy::backtest {
namespace {

using domain::EntropySample;

// The finite entropies of one layer's heads as shares of U, in ascending order.
std::vector<double> LayerShares(const EntropySample& sample, const RunShape& shape, std::int64_t layer) {
  const double bound_nats = domain::EntropyBoundNats(shape.context);
  std::vector<double> shares;
  for (std::int64_t head = layer * shape.n_head; head < (layer + 1) * shape.n_head; ++head) {
    if (head >= static_cast<std::int64_t>(sample.entropy_nats.size()) || bound_nats <= 0.0) break;
    const double share = static_cast<double>(sample.entropy_nats[static_cast<std::size_t>(head)]) / bound_nats;
    if (std::isfinite(share)) shares.push_back(share);
  }
  std::sort(shares.begin(), shares.end());
  return shares;
}

double Mean(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return values.empty() ? NAN : sum / static_cast<double>(values.size());
}

double MedianOfSorted(const std::vector<double>& values) {
  if (values.empty()) return NAN;
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

// One layer over the whole run.
struct LayerCourse {
  double tail_sum = 0.0;  // over samples of the last tenth
  std::int64_t tail_samples = 0;
  std::optional<std::int64_t> tail_from;
  std::optional<std::int64_t> below_since;  // the median's last unbroken stretch below the limit
  bool dipped = false;
  bool touched = false;

  bool Collapsed() const { return tail_samples > 0 && tail_sum / static_cast<double>(tail_samples) < kCollapsedShare; }
};

LayerCourse CourseOf(const Trace& trace, std::int64_t layer) {
  LayerCourse course;
  const std::int64_t last_step = trace.samples.back().step;
  for (const EntropySample& sample : trace.samples) {
    const std::vector<double> shares = LayerShares(sample, trace.shape, layer);
    const double mean = Mean(shares);
    const bool below = MedianOfSorted(shares) < kCollapsedShare;
    if (!below) course.below_since.reset();
    else if (!course.below_since.has_value()) course.below_since = sample.step;
    course.dipped = course.dipped || mean < kDippedShare;
    course.touched = course.touched || below;
    if (10 * sample.step <= 9 * last_step || std::isnan(mean)) continue;
    if (!course.tail_from.has_value()) course.tail_from = sample.step;
    course.tail_sum += mean;
    ++course.tail_samples;
  }
  return course;
}

void NoteOnset(std::int64_t step, std::optional<std::int64_t> layer, Label* label) {
  label->collapsed = true;
  if (label->onset_step.has_value() && *label->onset_step <= step) return;
  label->onset_step = step;
  label->onset_layer = layer;
}

}  // namespace

Label LabelOf(const Trace& trace) {
  Label label;
  if (trace.samples.empty()) return label;
  for (std::int64_t layer = 0; layer < trace.shape.n_layer; ++layer) {
    const LayerCourse course = CourseOf(trace, layer);
    label.dipped = label.dipped || course.dipped;
    label.touched = label.touched || course.touched;
    if (course.Collapsed()) NoteOnset(course.below_since.value_or(*course.tail_from), layer, &label);
  }
  for (const EntropySample& sample : trace.samples) {
    if (std::isfinite(sample.loss)) continue;
    label.non_finite = true;
    NoteOnset(sample.step, std::nullopt, &label);
    break;
  }
  return label;
}

}  // namespace entrain::policy::backtest
