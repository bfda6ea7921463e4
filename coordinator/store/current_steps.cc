#include "coordinator/store/current_steps.h"

#include <algorithm>
#include <limits>

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

}  // namespace entrain::store
