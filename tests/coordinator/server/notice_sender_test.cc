#include "coordinator/server/notice_sender.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/strings.h"

namespace entrain::server {
namespace {

// Answers one request a connection with what `answer` gives for the n-th, and keeps what it got.
class HookServer {
 public:
  explicit HookServer(std::function<std::string(int)> answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 16);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { Serve(); });
  }
  ~HookServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  WebhookOptions Options() const {
    WebhookOptions options;
    options.url = *transport::ParseHttpUrl(StrCat("http://127.0.0.1:", port_, "/hook"));
    options.first_pause_ms = 1;
    options.timeout_ms = 2'000;
    return options;
  }
  std::vector<std::string> requests() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return requests_;
  }

 private:
  void Serve() {
    for (;;) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      std::string request;
      char buffer[4096];
      while (!Whole(request)) {
        const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
        if (got <= 0) break;
        request.append(buffer, static_cast<std::size_t>(got));
      }
      std::string answer;
      {
        std::lock_guard<std::mutex> lock(mutex_);
        requests_.push_back(request);
        answer = answer_(static_cast<int>(requests_.size()));
      }
      ::send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::close(fd);
    }
  }
  static bool Whole(const std::string& request) {
    const std::size_t head = request.find("\r\n\r\n");
    const std::size_t length = request.find("Content-Length: ");
    return head != std::string::npos && length != std::string::npos && request.size() >= head + 4 + std::stoul(request.substr(length + 16));
  }

  std::function<std::string(int)> answer_;
  int listener_ = -1;
  int port_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

// What became of the tries.
struct Counts {
  std::atomic<int> delivered{0};
  std::atomic<int> retried{0};
  std::atomic<int> dropped{0};
  std::function<void(NoticeSender::Result)> Hook() {
    return [this](NoticeSender::Result result) {
      if (result == NoticeSender::Result::kDelivered) ++delivered;
      if (result == NoticeSender::Result::kRetried) ++retried;
      if (result == NoticeSender::Result::kDropped) ++dropped;
    };
  }
};

bool Eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

constexpr char kFine[] = "HTTP/1.1 204 No Content\r\n\r\n";
constexpr char kBusy[] = "HTTP/1.1 503 Service Unavailable\r\n\r\n";

TEST(NoticeSender, SignsWhatItSends) {
  HookServer server([](int) { return kFine; });
  WebhookOptions options = server.Options();
  options.secret = "key";
  const ManualClock clock;
  Counts counts;
  NoticeSender sender(options, &clock, counts.Hook());
  sender.Post({"r1.1-collapse-40", "{\"a\":1}"});
  ASSERT_TRUE(Eventually([&] { return counts.delivered == 1; }));
  const std::string request = server.requests().at(0);
  EXPECT_TRUE(request.starts_with("POST /hook HTTP/1.1\r\n")) << request;
  EXPECT_TRUE(request.ends_with("\r\n\r\n{\"a\":1}")) << request;
  EXPECT_NE(request.find("X-Entrain-Delivery: r1.1-collapse-40\r\n"), std::string::npos);
  const std::string signature = transport::HmacSha256Hex("key", StrCat(clock.WallMs() / 1000, ".{\"a\":1}"));
  EXPECT_NE(request.find(StrCat("X-Entrain-Signature: sha256=", signature, "\r\n")), std::string::npos) << request;
}

TEST(NoticeSender, TriesAgainUntilItIsTaken) {
  HookServer server([](int request) { return request < 3 ? kBusy : kFine; });
  const ManualClock clock;
  Counts counts;
  NoticeSender sender(server.Options(), &clock, counts.Hook());
  sender.Post({"a", "{}"});
  ASSERT_TRUE(Eventually([&] { return counts.delivered == 1; }));
  EXPECT_EQ(counts.retried, 2);
  EXPECT_EQ(server.requests().size(), 3U);
}

TEST(NoticeSender, GivesUpWhereItIsRefusedAndAfterSoManyTries) {
  HookServer server([](int request) { return request == 1 ? "HTTP/1.1 401 Unauthorized\r\n\r\n" : kBusy; });
  WebhookOptions options = server.Options();
  options.max_tries = 3;
  const ManualClock clock;
  Counts counts;
  NoticeSender sender(options, &clock, counts.Hook());
  sender.Post({"refused", "{}"});
  sender.Post({"busy", "{}"});
  ASSERT_TRUE(Eventually([&] { return counts.dropped == 2; }));
  EXPECT_EQ(server.requests().size(), 4U) << "one refusal, three tries";
}

TEST(NoticeSender, NeverBlocksAndDropsTheOldest) {
  WebhookOptions options;
  options.url = *transport::ParseHttpUrl("http://127.0.0.1:1/nobody");
  options.max_waiting = 10;
  options.first_pause_ms = 3'600'000;
  const ManualClock clock;
  Counts counts;
  NoticeSender sender(options, &clock, counts.Hook());
  for (int i = 0; i < 100; ++i) sender.Post({StrCat(i), "{}"});
  // At most the one under way and the ten that wait are left; ending does not wait for the pause.
  EXPECT_GE(counts.dropped, 89);
}

}  // namespace
}  // namespace entrain::server
