#include "worker/attempt/control_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/attempt/json_fields.h"

namespace entrain::attempt {
namespace {

constexpr int kBacklog = 32;
constexpr std::size_t kMaxCommandBytes = 1 << 16;
constexpr int kSendTimeoutMs = 2000;

absl::StatusOr<sockaddr_un> Address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(StrCat("control socket ", path, ": a socket path has 1 to ",
                                             sizeof(address.sun_path) - 1, " bytes, this one has ", path.size()));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

void Answer(int fd, const absl::Status& status) {
  const std::string line =
      status.ok() ? JsonWriter().Add("ok", true).Finish()
                  : JsonWriter().Add("error", std::string(status.message())).Finish();
  const std::string bytes = line + "\n";
  // Whoever hung up or does not read gets no answer.
  (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlListener>> ControlListener::Listen(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const sockaddr_un address, Address(path));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus(errno, "make control socket", path);
  auto listener = std::unique_ptr<ControlListener>(new ControlListener(path, fd));
  ::unlink(path.c_str());
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, "bind control socket", path);
  }
  if (::chmod(path.c_str(), 0600) != 0) return ErrnoStatus(errno, "chmod control socket", path);
  if (::listen(fd, kBacklog) != 0) return ErrnoStatus(errno, "listen on control socket", path);
  return listener;
}

ControlListener::~ControlListener() {
  for (const Connection& connection : connections_) ::close(connection.fd);
  ::close(fd_);
  ::unlink(path_.c_str());
}

void ControlListener::Accept() {
  for (;;) {
    const int fd = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    connections_.push_back({fd, {}});
  }
}

bool ControlListener::Receive(Connection* connection, std::vector<StopCommand>* commands) {
  char buffer[4096];
  ssize_t count = 0;
  while ((count = ::recv(connection->fd, buffer, sizeof(buffer), 0)) > 0) {
    connection->received.append(buffer, static_cast<std::size_t>(count));
    if (connection->received.size() > kMaxCommandBytes) return false;
  }
  const bool open = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  std::size_t newline = 0;
  while ((newline = connection->received.find('\n')) != std::string::npos) {
    absl::StatusOr<StopCommand> command = DecodeCommand(std::string_view(connection->received).substr(0, newline));
    Answer(connection->fd, command.status());
    if (command.ok()) commands->push_back(*std::move(command));
    connection->received.erase(0, newline + 1);
  }
  return open;
}

std::vector<StopCommand> ControlListener::Poll() {
  Accept();
  std::vector<StopCommand> commands;
  std::erase_if(connections_, [&](Connection& connection) {
    if (Receive(&connection, &commands)) return false;
    ::close(connection.fd);
    return true;
  });
  return commands;
}

absl::Status SendCommand(const std::string& socket_path, const StopCommand& command) {
  ENTRAIN_ASSIGN_OR_RETURN(const sockaddr_un address, Address(socket_path));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return ErrnoStatus(errno, "make socket for", socket_path);
  const timeval timeout{kSendTimeoutMs / 1000, (kSendTimeoutMs % 1000) * 1000};
  ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
  absl::Status status;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    status = absl::UnavailableError(StrCat("connect to control socket ", socket_path, ": ", std::strerror(errno)));
  } else {
    const std::string line = EncodeCommand(command) + "\n";
    const ssize_t sent = ::send(fd, line.data(), line.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(line.size())) {
      status = absl::UnavailableError(StrCat("send to control socket ", socket_path, ": ",
                                             sent < 0 ? std::strerror(errno) : "only a part went out"));
    }
  }
  ::close(fd);
  return status;
}

}  // namespace entrain::attempt
