// PromQL from the table's names.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "metrics/names.h"

namespace entrain::metrics {

// `pattern` with $0, $1, ... replaced by the metrics' names; other dollar signs (Grafana's variables) stay.
std::string Query(std::string_view pattern, std::initializer_list<MetricId> ids);

}  // namespace entrain::metrics
