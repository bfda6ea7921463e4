#include "metrics/window_min.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/random.h"
#include "gtest/gtest.h"

namespace entrain::metrics {
namespace {

TEST(WindowMinTest, EqualsTheMinimumOverTheWindow) {
  Rng rng(7, 0);
  WindowMin window(100);
  std::vector<std::pair<std::int64_t, double>> all;
  std::int64_t now_ms = 0;
  for (int i = 0; i < 2000; ++i) {
    now_ms += static_cast<std::int64_t>(rng.Below(15));
    all.emplace_back(now_ms, rng.Uniform());
    window.Add(now_ms, all.back().second);
    double expected = 1;
    for (const auto& [at_ms, value] : all) {
      if (at_ms >= now_ms - 100) expected = std::min(expected, value);
    }
    ASSERT_EQ(window.value(), expected) << "value " << i;
  }
}

TEST(WindowMinTest, KeepsTheNewestHoweverOld) {
  WindowMin window(10);
  window.Add(0, 1.0);
  window.Add(1, 3.0);
  window.ExpireTo(10);
  EXPECT_EQ(window.value(), 1.0);
  window.ExpireTo(1000);
  EXPECT_EQ(window.value(), 3.0);
}

TEST(WindowMinTest, ShowsNanUntilItLeavesTheWindow) {
  WindowMin window(10);
  window.Add(0, 0.5);
  window.Add(1, std::nan(""));
  window.Add(2, 0.25);
  EXPECT_TRUE(std::isnan(window.value()));
  window.Add(12, 0.75);
  EXPECT_EQ(window.value(), 0.25);
}

}  // namespace
}  // namespace entrain::metrics
