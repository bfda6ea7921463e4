#include "cli/view/loss_history.h"

#include <algorithm>
#include <iterator>

namespace entrain::cli::view {
namespace {

// A view of days keeps every second point again and again; a sparkline shows far fewer.
constexpr std::size_t kMaxPoints = 2'000;

void ThinOut(std::map<std::int64_t, double>* points) {
  bool keep = true;
  for (auto at = points->begin(); at != points->end(); keep = !keep) {
    if (keep || std::next(at) == points->end()) ++at;
    else at = points->erase(at);
  }
}

}  // namespace

void LossHistory::Note(const SweepView& sweep) {
  for (const RunView& run : sweep.runs) {
    if (run.step <= 0 || run.loss == 0.0) continue;
    auto& points = runs_[run.id];
    points.erase(points.lower_bound(run.step), points.end());
    points[run.step] = run.loss;
    if (points.size() > kMaxPoints) ThinOut(&points);
  }
}

void LossHistory::Fill(const std::string& run, const std::vector<Point>& earlier) {
  auto& points = runs_[run];
  const std::int64_t last = points.empty() ? INT64_MAX : points.rbegin()->first;
  for (const Point& point : earlier) {
    if (point.step < last) points.emplace(point.step, point.loss);
  }
  if (points.size() > kMaxPoints) ThinOut(&points);
}

std::vector<double> LossHistory::Curve(const std::string& run, int buckets) const {
  const auto found = runs_.find(run);
  if (found == runs_.end() || found->second.empty() || buckets <= 0) return {};
  const auto& points = found->second;
  const std::int64_t first = points.begin()->first;
  const std::int64_t span = points.rbegin()->first - first + 1;
  const auto n = static_cast<std::size_t>(std::min<std::int64_t>(buckets, static_cast<std::int64_t>(points.size())));
  std::vector<double> sums(n, 0.0);
  std::vector<int> counts(n, 0);
  for (const auto& [step, loss] : points) {
    const auto bucket = static_cast<std::size_t>((step - first) * static_cast<std::int64_t>(n) / span);
    sums[bucket] += loss;
    ++counts[bucket];
  }
  std::vector<double> curve;
  for (std::size_t i = 0; i < n; ++i) curve.push_back(counts[i] > 0 ? sums[i] / counts[i] : curve.back());
  return curve;
}

}  // namespace entrain::cli::view
