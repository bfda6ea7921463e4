// What waits for the core. Thread-safe; the outside waits while it is full, our own lanes never do.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "domain/event.h"

namespace entrain::server {

using EventBody = decltype(domain::Event::body);

class EventQueue {
 public:
  explicit EventQueue(std::size_t max_waiting) : max_waiting_(max_waiting) {}

  // UNAVAILABLE once closed.
  absl::Status Post(EventBody body);
  // Beyond the limit too; dropped once closed.
  void PostOwn(EventBody body);
  // At most `max` events in order; waits up to `timeout_ms` for the first.
  std::vector<EventBody> Take(std::size_t max, std::int64_t timeout_ms);
  void Close();
  bool closed() const;

 private:
  const std::size_t max_waiting_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<EventBody> waiting_;
  bool closed_ = false;
};

}  // namespace entrain::server
