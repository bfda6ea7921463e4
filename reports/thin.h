// Fewer points that show the same curve.
#pragma once

#include <cstddef>
#include <vector>

namespace entrain::reports {

// Indices, increasing, of at most `max_points` (at least 4) values: the first and the last, and the smallest and the largest of each of
// equally long stretches. A NaN stands for its stretch: it is never thinned away.
std::vector<std::size_t> ThinIndices(const std::vector<double>& values, std::size_t max_points);

// Indices, increasing and evenly spread, of at most `max_points` (at least 2) of `n`, with the first and the last.
std::vector<std::size_t> EvenIndices(std::size_t n, std::size_t max_points);

}  // namespace entrain::reports
