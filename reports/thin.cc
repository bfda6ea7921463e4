#include "reports/thin.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace entrain::reports {
namespace {

struct Extremes {
  std::size_t low;
  std::size_t high;
};

Extremes ExtremesOf(const std::vector<double>& values, std::size_t begin, std::size_t end) {
  Extremes found{begin, begin};
  for (std::size_t i = begin; i < end; ++i) {
    if (std::isnan(values[i])) return {i, i};
    if (values[i] < values[found.low]) found.low = i;
    if (values[i] > values[found.high]) found.high = i;
  }
  return found;
}

std::vector<std::size_t> All(std::size_t n) {
  std::vector<std::size_t> indices(n);
  std::iota(indices.begin(), indices.end(), std::size_t{0});
  return indices;
}

}  // namespace

std::vector<std::size_t> ThinIndices(const std::vector<double>& values, std::size_t max_points) {
  const std::size_t n = values.size();
  if (n <= max_points) return All(n);
  const std::size_t stretches = (max_points - 2) / 2;
  std::vector<std::size_t> indices = {0, n - 1};
  for (std::size_t s = 0; s < stretches; ++s) {
    const Extremes found = ExtremesOf(values, s * n / stretches, (s + 1) * n / stretches);
    indices.push_back(found.low);
    indices.push_back(found.high);
  }
  std::sort(indices.begin(), indices.end());
  indices.erase(std::unique(indices.begin(), indices.end()), indices.end());
  return indices;
}

std::vector<std::size_t> EvenIndices(std::size_t n, std::size_t max_points) {
  if (n <= max_points) return All(n);
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < max_points; ++i) indices.push_back(i * (n - 1) / (max_points - 1));
  return indices;
}

}  // namespace entrain::reports
