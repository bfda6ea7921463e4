// Where callers wait for the core's answers. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "domain/effect.h"

namespace entrain::rpc {

class ReplyBoard {
 public:
  // A number that no other request of this process has; its answer is kept until Await.
  domain::RequestId Open();
  // The answer; DEADLINE_EXCEEDED after `timeout_ms` (the request may still be carried out), UNAVAILABLE once closed.
  absl::StatusOr<domain::Reply> Await(domain::RequestId request, std::int64_t timeout_ms);
  // Gives a request up.
  void Drop(domain::RequestId request);
  void Deliver(const domain::Reply& reply);
  // Nobody answers any more.
  void Close();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  domain::RequestId last_ = 0;
  std::map<domain::RequestId, std::optional<domain::Reply>> waiting_;
  bool closed_ = false;
};

}  // namespace entrain::rpc
