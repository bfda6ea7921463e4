#include "metrics/query.h"

#include <cctype>
#include <vector>

#include "base/check.h"

namespace entrain::metrics {

std::string Query(std::string_view pattern, std::initializer_list<MetricId> ids) {
  const std::vector<MetricId> list(ids);
  std::string text;
  for (std::size_t at = 0; at < pattern.size(); ++at) {
    const bool names_metric = pattern[at] == '$' && at + 1 < pattern.size() && std::isdigit(static_cast<unsigned char>(pattern[at + 1])) != 0;
    if (!names_metric) {
      text += pattern[at];
      continue;
    }
    const auto index = static_cast<std::size_t>(pattern[++at] - '0');
    ENTRAIN_CHECK(index < list.size());
    text += NameOf(list[index]);
  }
  return text;
}

}  // namespace entrain::metrics
