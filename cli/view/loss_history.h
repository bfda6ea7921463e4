// The training loss of every run of a sweep as far as the view has seen or fetched it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

class LossHistory {
 public:
  struct Point {
    std::int64_t step = 0;
    double loss = 0.0;
  };

  // Each run's newest step. One that went back, because an attempt resumed from a checkpoint, takes the later steps with it.
  void Note(const SweepView& sweep);
  // What was before the view began; in step order.
  void Fill(const std::string& run, const std::vector<Point>& earlier);
  // The means of `buckets` equal stretches of the steps so far; a stretch without a step repeats the one before. Empty: nothing known.
  std::vector<double> Curve(const std::string& run, int buckets) const;

 private:
  // Step -> loss.
  std::map<std::string, std::map<std::int64_t, double>> runs_;
};

}  // namespace entrain::cli::view
