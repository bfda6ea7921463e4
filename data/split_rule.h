// Which split a document belongs to depends on its content alone. When the hashes would leave a split empty, the document with the lowest
// (highest) hash is moved there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "data/token_dataset.h"

namespace entrain::data {

struct SplitRule {
  double fraction = 0.0;
  std::uint64_t lowest = 0;
  std::uint64_t highest = 0;
  std::int64_t documents = 0;

  void Observe(std::uint64_t hash) {
    lowest = documents == 0 ? hash : std::min(lowest, hash);
    highest = documents == 0 ? hash : std::max(highest, hash);
    ++documents;
  }
  Split Of(std::uint64_t hash) const {
    if (fraction <= 0.0 || lowest == highest) return Split::kTrain;
    if (hash == lowest) return Split::kValidation;
    if (hash == highest) return Split::kTrain;
    return std::ldexp(static_cast<double>(hash >> 11), -53) < fraction ? Split::kValidation : Split::kTrain;
  }
};

}  // namespace entrain::data
