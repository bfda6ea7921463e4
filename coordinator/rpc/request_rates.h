// How many calls each client makes: a token bucket for each. Not thread-safe; the time is passed in.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace entrain::rpc {

class RequestRates {
 public:
  // `per_second` calls on average, up to `burst` at once.
  RequestRates(double per_second, double burst) : per_second_(per_second), burst_(burst) {}
  // Whether the client may make one more call now; a client may be worth `weight` of them.
  bool Take(const std::string& client, std::int64_t now_ms, double weight = 1);
  double per_second() const { return per_second_; }

 private:
  struct Bucket {
    double left;
    std::int64_t at_ms;
  };
  const double per_second_;
  const double burst_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace entrain::rpc
