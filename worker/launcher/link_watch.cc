#include "worker/launcher/link_watch.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace entrain::launcher {
namespace {

constexpr std::int64_t kTryIntervalMs = 1'000;
constexpr std::int64_t kTryLimitMs = 2'000;

bool Answers(int error) { return error == 0 || error == ECONNREFUSED || error == ECONNRESET; }

}  // namespace

LinkWatch::LinkWatch(std::string_view addresses, std::int64_t now_ms) {
  while (!addresses.empty()) {
    const std::string address(addresses.substr(0, addresses.find(',')));
    addresses.remove_prefix(std::min(addresses.size(), address.size() + 1));
    const std::size_t colon = address.rfind(':');
    if (colon == std::string::npos) continue;
    Machine machine{.address = address};
    machine.place.sin_family = AF_INET;
    machine.place.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
    machine.heard_ms = now_ms;
    machine.tried_ms = now_ms - kTryIntervalMs;
    if (::inet_pton(AF_INET, address.substr(0, colon).c_str(), &machine.place.sin_addr) == 1) machines_.push_back(machine);
  }
}

LinkWatch::~LinkWatch() {
  for (Machine& machine : machines_) Close(&machine);
}

void LinkWatch::Close(Machine* machine) {
  if (machine->fd >= 0) ::close(machine->fd);
  machine->fd = -1;
}

void LinkWatch::Try(Machine* machine, std::int64_t now_ms) {
  machine->tried_ms = now_ms;
  machine->fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (machine->fd < 0) return;
  const int result = ::connect(machine->fd, reinterpret_cast<const sockaddr*>(&machine->place), sizeof(machine->place));
  if (result != 0 && errno == EINPROGRESS) return;
  if (result == 0 || Answers(errno)) machine->heard_ms = now_ms;
  Close(machine);
}

void LinkWatch::Look(Machine* machine, std::int64_t now_ms) {
  pollfd descriptor{.fd = machine->fd, .events = POLLOUT, .revents = 0};
  if (::poll(&descriptor, 1, 0) > 0) {
    int error = 0;
    socklen_t size = sizeof(error);
    if (::getsockopt(machine->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && Answers(error)) machine->heard_ms = now_ms;
    Close(machine);
  } else if (now_ms - machine->tried_ms >= kTryLimitMs) {
    Close(machine);
  }
}

void LinkWatch::Poll(std::int64_t now_ms) {
  for (Machine& machine : machines_) {
    if (machine.fd >= 0) Look(&machine, now_ms);
    if (machine.fd < 0 && now_ms - machine.tried_ms >= kTryIntervalMs) Try(&machine, now_ms);
  }
}

std::string LinkWatch::SilentFor(std::int64_t limit_ms, std::int64_t now_ms) const {
  for (const Machine& machine : machines_) {
    if (now_ms - machine.heard_ms >= limit_ms) return machine.address;
  }
  return "";
}

void LinkWatch::Restart(std::int64_t now_ms) {
  for (Machine& machine : machines_) machine.heard_ms = now_ms;
}

}  // namespace entrain::launcher
