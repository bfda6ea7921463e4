// The losses of the last steps, and robust statistics of them.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

namespace entrain::policy {

class LossWindow {
 public:
  explicit LossWindow(std::int64_t window_steps);

  // In step order. A loss that is not finite is left out: other rules speak of it.
  void Add(std::int64_t step, double loss);
  // A fifth of the window and at least three losses are there: fewer are no baseline.
  bool Filled() const;
  double Median() const;
  // 1.4826 times the median absolute deviation: the standard deviation of normal noise.
  double Spread() const;

 private:
  std::int64_t window_steps_;
  std::int64_t first_step_ = 0;  // ever seen
  std::deque<std::pair<std::int64_t, double>> losses_;
};

}  // namespace entrain::policy
