#include "coordinator/store/current_steps.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"

namespace entrain::store {

std::vector<StepRange> CurrentRanges(const std::map<AttemptNumber, std::int64_t>& resume_steps) {
  std::vector<StepRange> ranges;
  std::int64_t through = std::numeric_limits<std::int64_t>::max();
  for (auto attempt = resume_steps.rbegin(); attempt != resume_steps.rend(); ++attempt) {
    if (attempt->second < through) ranges.push_back({attempt->first, attempt->second, through});
    through = std::min(through, attempt->second);
  }
  std::reverse(ranges.begin(), ranges.end());
  return ranges;
}

std::string StepList(const std::vector<std::int64_t>& steps) {
  std::string list = "-1";
  for (const std::int64_t step : steps) StrAppend(&list, ",", step);
  return list;
}

}  // namespace entrain::store
