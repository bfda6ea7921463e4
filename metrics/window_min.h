// The smallest value of the last so many milliseconds, in constant amortised time a value.
#pragma once

#include <cmath>
#include <cstdint>
#include <deque>

namespace entrain::metrics {

class WindowMin {
 public:
  explicit WindowMin(std::int64_t window_ms) : window_ms_(window_ms) {}

  // Times do not decrease. NaN counts as smaller than every number: a dip to NaN must not hide.
  void Add(std::int64_t at_ms, double value) {
    while (!entries_.empty() && !Below(entries_.back().value, value)) entries_.pop_back();
    entries_.push_back({at_ms, value});
    ExpireTo(at_ms);
  }

  // The newest value stays however old it is.
  void ExpireTo(std::int64_t now_ms) {
    while (entries_.size() > 1 && entries_.front().at_ms < now_ms - window_ms_) entries_.pop_front();
  }

  // At least one value was added.
  double value() const { return entries_.front().value; }

 private:
  struct Entry {
    std::int64_t at_ms;
    double value;
  };
  static bool Below(double a, double b) { return std::isnan(a) ? !std::isnan(b) : a < b; }

  std::int64_t window_ms_;
  // Values increase from front to back; the front is the minimum.
  std::deque<Entry> entries_;
};

}  // namespace entrain::metrics
