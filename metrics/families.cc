#include "metrics/families.h"

#include "base/check.h"

namespace entrain::metrics {
namespace {

constexpr std::size_t kMetrics = static_cast<std::size_t>(MetricId::kCount);

std::size_t IndexOf(MetricId id) { return static_cast<std::size_t>(id); }

template <typename Builder>
auto* Build(Builder builder, const Metric& metric, prometheus::Registry& registry) {
  return &builder.Name(std::string(metric.name)).Help(std::string(metric.help)).Register(registry);
}

prometheus::Labels OnlyLabel(MetricId id, const std::string& value) {
  const Metric& metric = Describe(id);
  if (metric.labels.empty()) return {};
  ENTRAIN_CHECK(metric.labels.size() == 1);
  return {{std::string(metric.labels[0].name), value}};
}

// Space is unknown, not 0, until the process says it.
bool KnownFromTheStart(const Metric& metric) {
  return metric.id != MetricId::kWorkerDiskFree && metric.id != MetricId::kCoordinatorDiskFree && metric.id != MetricId::kArtifactBytes;
}

}  // namespace

Families::Families(Process process) : gauges_(kMetrics), counters_(kMetrics), histograms_(kMetrics) {
  for (const Metric& metric : AllMetrics()) {
    if (metric.process != process) continue;
    Register(metric);
    if (KnownFromTheStart(metric)) InitialiseKnownSeries(metric);
  }
}

void Families::Register(const Metric& metric) {
  const std::size_t index = IndexOf(metric.id);
  switch (metric.type) {
    case MetricType::kGauge: gauges_[index] = Build(prometheus::BuildGauge(), metric, registry_); break;
    case MetricType::kCounter: counters_[index] = Build(prometheus::BuildCounter(), metric, registry_); break;
    case MetricType::kHistogram: histograms_[index] = Build(prometheus::BuildHistogram(), metric, registry_); break;
  }
}

void Families::InitialiseKnownSeries(const Metric& metric) {
  if (metric.labels.size() > 1) return;
  std::vector<std::string> values = {""};
  if (metric.labels.size() == 1) values.assign(metric.labels[0].values.begin(), metric.labels[0].values.end());
  for (const std::string& value : values) {
    switch (metric.type) {
      case MetricType::kGauge: Gauge(metric.id, value); break;
      case MetricType::kCounter: Counter(metric.id, value); break;
      case MetricType::kHistogram: Histogram(metric.id); break;
    }
  }
}

prometheus::Family<prometheus::Gauge>& Families::Gauges(MetricId id) {
  ENTRAIN_CHECK_MSG(gauges_[IndexOf(id)] != nullptr, std::string(NameOf(id)));
  return *gauges_[IndexOf(id)];
}

prometheus::Family<prometheus::Counter>& Families::Counters(MetricId id) {
  ENTRAIN_CHECK_MSG(counters_[IndexOf(id)] != nullptr, std::string(NameOf(id)));
  return *counters_[IndexOf(id)];
}

prometheus::Family<prometheus::Histogram>& Families::Histograms(MetricId id) {
  ENTRAIN_CHECK_MSG(histograms_[IndexOf(id)] != nullptr, std::string(NameOf(id)));
  return *histograms_[IndexOf(id)];
}

prometheus::Gauge& Families::Gauge(MetricId id, const std::string& label_value) {
  return Gauges(id).Add(OnlyLabel(id, label_value));
}

prometheus::Counter& Families::Counter(MetricId id, const std::string& label_value) {
  return Counters(id).Add(OnlyLabel(id, label_value));
}

prometheus::Histogram& Families::Histogram(MetricId id) {
  const auto buckets = Describe(id).buckets;
  return Histograms(id).Add({}, prometheus::Histogram::BucketBoundaries(buckets.begin(), buckets.end()));
}

SeriesGroup::~SeriesGroup() {
  for (const auto& [id, gauge] : gauges_) families_->Gauges(id).Remove(gauge);
  for (const auto& [id, counter] : counters_) families_->Counters(id).Remove(counter);
}

prometheus::Gauge* SeriesGroup::AddGauge(MetricId id, const prometheus::Labels& labels) {
  ENTRAIN_CHECK_MSG(!families_->Gauges(id).Has(labels), std::string(NameOf(id)));
  return gauges_.emplace_back(id, &families_->Gauges(id).Add(labels)).second;
}

prometheus::Counter* SeriesGroup::AddCounter(MetricId id, const prometheus::Labels& labels) {
  ENTRAIN_CHECK_MSG(!families_->Counters(id).Has(labels), std::string(NameOf(id)));
  return counters_.emplace_back(id, &families_->Counters(id).Add(labels)).second;
}

}  // namespace entrain::metrics
