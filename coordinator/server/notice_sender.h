// Verdicts to a webhook. A thread of its own with a bounded queue: whoever has a notice never waits, and what does not get through is
// dropped and counted. A notice that waited when the process ended is lost; the verdict itself is in the journal.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "transport/http_post.h"

namespace entrain::server {

struct Notice {
  std::string id;    // the same for every try
  std::string body;  // JSON
};

struct WebhookOptions {
  transport::HttpUrl url;
  std::string secret;  // empty: not signed
  std::size_t max_waiting = 1'000;
  int max_tries = 8;
  std::int64_t first_pause_ms = 1'000;  // doubles with every try, up to a minute
  std::int64_t timeout_ms = 10'000;
};

class NoticeSender {
 public:
  enum class Result { kDelivered, kRetried, kDropped };
  // `count` hears what became of every try; from any thread.
  NoticeSender(WebhookOptions options, const Clock* clock, std::function<void(Result)> count);
  // Ends after the try that is under way.
  ~NoticeSender();
  NoticeSender(const NoticeSender&) = delete;
  NoticeSender& operator=(const NoticeSender&) = delete;

  // Never blocks. When the queue is full the oldest goes.
  void Post(Notice notice);

  // X-Entrain-Delivery, X-Entrain-Timestamp (seconds) and, with a secret, X-Entrain-Signature: "sha256=" and the hexadecimal HMAC-SHA256 of
  // "<timestamp>.<body>".
  static std::map<std::string, std::string> HeadersOf(const Notice& notice, const std::string& secret, std::int64_t wall_ms);

 private:
  void Work();
  // False when the sender ends meanwhile.
  bool Pause(std::int64_t duration_ms);
  void Deliver(const Notice& notice);

  const WebhookOptions options_;
  const Clock* const clock_;
  const std::function<void(Result)> count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Notice> waiting_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace entrain::server
