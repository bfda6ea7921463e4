#include "tests/postgres/server_link.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/strings.h"

namespace entrain::testing {
namespace {

constexpr char kSocketName[] = "/.s.PGSQL.5432";
constexpr int kLateAnswerLimitMs = 10'000;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string ReadSome(int fd) {
  std::array<char, 65536> buffer;
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  return got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got)) : std::string();
}

}  // namespace

ServerLink::ServerLink(const std::string& dir, const std::string& server_dir) : dir_(dir), server_path_(server_dir + kSocketName) {
  std::filesystem::remove_all(dir_);
  std::filesystem::create_directories(dir_);
  listener_ = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = AddressOf(dir_ + kSocketName);
  EXPECT_EQ(bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_EQ(listen(listener_, 16), 0);
  thread_ = std::thread([this] { Work(); });
}

ServerLink::~ServerLink() {
  ending_ = true;
  thread_.join();
  for (const Pair& pair : pairs_) {
    close(pair.client);
    close(pair.server);
  }
  if (late_server_ >= 0) close(late_server_);
  close(listener_);
  std::filesystem::remove_all(dir_);
}

void ServerLink::Arm(Fault fault, const std::string& mark) {
  std::lock_guard<std::mutex> lock(mutex_);
  fault_ = fault;
  mark_ = mark;
  happened_ = false;
}

std::string ServerLink::DeliverLate() {
  std::lock_guard<std::mutex> lock(mutex_);
  EXPECT_GE(late_server_, 0) << "nothing was held back";
  EXPECT_TRUE(SendAll(late_server_, late_));
  std::string answer;
  pollfd socket{late_server_, POLLIN, 0};
  // Until the server is ready again: its last message is 'Z', of 6 bytes.
  while ((answer.size() < 6 || answer[answer.size() - 6] != 'Z') && poll(&socket, 1, kLateAnswerLimitMs) > 0) {
    const std::string more = ReadSome(late_server_);
    if (more.empty()) break;
    answer += more;
  }
  return answer;
}

void ServerLink::Accept() {
  Pair pair;
  pair.client = accept(listener_, nullptr, nullptr);
  pair.server = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = AddressOf(server_path_);
  if (closed_ || connect(pair.server, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    close(pair.client);
    close(pair.server);
    return;
  }
  pairs_.push_back(pair);
}

bool ServerLink::FromClient(Pair* pair) {
  const std::string bytes = ReadSome(pair->client);
  if (bytes.empty()) return false;
  Fault fault = Fault::kNone;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (fault_ != Fault::kNone && bytes.find(mark_) != std::string::npos) {
      fault = std::exchange(fault_, Fault::kNone);
      if (fault == Fault::kLateRequest) {
        late_ = bytes;
        late_server_ = std::exchange(pair->server, -1);
      }
      pair->lose_answer = fault == Fault::kLoseAnswer;
      if (closes_) closed_ = true;
      happened_ = true;
    }
  }
  if (fault == Fault::kLoseRequest || fault == Fault::kLateRequest) return false;
  return SendAll(pair->server, bytes);
}

bool ServerLink::FromServer(Pair* pair) {
  const std::string bytes = ReadSome(pair->server);
  return !bytes.empty() && !pair->lose_answer && SendAll(pair->client, bytes);
}

void ServerLink::Work() {
  while (!ending_) {
    if (frozen_) {
      poll(nullptr, 0, 10);
      continue;
    }
    std::vector<pollfd> sockets{{listener_, POLLIN, 0}};
    for (const Pair& pair : pairs_) {
      sockets.push_back({pair.client, POLLIN, 0});
      sockets.push_back({pair.server, POLLIN, 0});
    }
    poll(sockets.data(), sockets.size(), 50);
    const std::size_t count = pairs_.size();
    if (sockets[0].revents != 0) Accept();
    for (std::size_t i = count; i-- > 0;) {
      bool lives = sockets[1 + 2 * i].revents == 0 || FromClient(&pairs_[i]);
      lives = lives && (sockets[2 + 2 * i].revents == 0 || FromServer(&pairs_[i]));
      if (lives) continue;
      close(pairs_[i].client);
      if (pairs_[i].server >= 0) close(pairs_[i].server);
      pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }
}

}  // namespace entrain::testing
