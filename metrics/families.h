// The metric families of one process in one registry, made from the table of names; and groups of series that end together.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "metrics/names.h"
#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace entrain::metrics {

class Families {
 public:
  explicit Families(Process process);

  prometheus::Family<prometheus::Gauge>& Gauges(MetricId id);
  prometheus::Family<prometheus::Counter>& Counters(MetricId id);
  prometheus::Family<prometheus::Histogram>& Histograms(MetricId id);

  // Series without labels, and those of the metric's only label.
  prometheus::Gauge& Gauge(MetricId id, const std::string& label_value = "");
  prometheus::Counter& Counter(MetricId id, const std::string& label_value = "");
  prometheus::Histogram& Histogram(MetricId id);

  std::vector<prometheus::MetricFamily> Collect() const { return registry_.Collect(); }

 private:
  void Register(const Metric& metric);
  void InitialiseKnownSeries(const Metric& metric);

  prometheus::Registry registry_;
  // By MetricId; null where the metric is of another type or process.
  std::vector<prometheus::Family<prometheus::Gauge>*> gauges_;
  std::vector<prometheus::Family<prometheus::Counter>*> counters_;
  std::vector<prometheus::Family<prometheus::Histogram>*> histograms_;
};

// Series that leave their families when the group goes. One label set belongs to one group at a time.
class SeriesGroup {
 public:
  explicit SeriesGroup(Families* families) : families_(families) {}
  ~SeriesGroup();
  SeriesGroup(const SeriesGroup&) = delete;
  SeriesGroup& operator=(const SeriesGroup&) = delete;

  prometheus::Gauge* AddGauge(MetricId id, const prometheus::Labels& labels);
  prometheus::Counter* AddCounter(MetricId id, const prometheus::Labels& labels);

 private:
  Families* families_;
  std::vector<std::pair<MetricId, prometheus::Gauge*>> gauges_;
  std::vector<std::pair<MetricId, prometheus::Counter*>> counters_;
};

}  // namespace entrain::metrics
