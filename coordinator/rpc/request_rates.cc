#include "coordinator/rpc/request_rates.h"

#include <algorithm>

namespace entrain::rpc {
namespace {

constexpr std::size_t kMaxBuckets = 10'000;

}  // namespace

bool RequestRates::Take(const std::string& client, std::int64_t now_ms, double weight) {
  // Whoever was long away has a full bucket, which is what a new one is.
  if (buckets_.size() >= kMaxBuckets) {
    std::erase_if(buckets_, [&](const auto& entry) {
      return entry.second.left + static_cast<double>(now_ms - entry.second.at_ms) / 1000 * per_second_ >= burst_;
    });
  }
  Bucket& bucket = buckets_.try_emplace(client, Bucket{burst_, now_ms}).first->second;
  bucket.left = std::min(burst_, bucket.left + static_cast<double>(now_ms - bucket.at_ms) / 1000 * per_second_);
  bucket.at_ms = now_ms;
  if (bucket.left < 1 / weight) return false;
  bucket.left -= 1 / weight;
  return true;
}

}  // namespace entrain::rpc
