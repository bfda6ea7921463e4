// Rank 0's control socket: a Unix stream socket on which every line is a command. `nc -U PATH` serves a person.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::attempt {

// Polled, never blocking; one thread. Senders are served at the next Poll, their lines wait in the socket until then.
class ControlListener {
 public:
  // Replaces a stale socket file at `path`. INVALID_ARGUMENT when the path is too long for a socket address (107 bytes).
  static absl::StatusOr<std::unique_ptr<ControlListener>> Listen(const std::string& path);
  ~ControlListener();
  ControlListener(const ControlListener&) = delete;
  ControlListener& operator=(const ControlListener&) = delete;

  // The commands that arrived since the last call, in order. Each line is answered with {"ok":true} or {"error":"..."}; a bad one is
  // otherwise ignored.
  std::vector<StopCommand> Poll();

 private:
  struct Connection {
    int fd = -1;
    std::string received;
  };
  ControlListener(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  void Accept();
  // False once the sender hung up.
  bool Receive(Connection* connection, std::vector<StopCommand>* commands);

  std::string path_;
  int fd_;
  std::vector<Connection> connections_;
};

// Leaves one command in the socket; returns as soon as it is there, not when it is obeyed. UNAVAILABLE when nobody listens.
absl::Status SendCommand(const std::string& socket_path, const StopCommand& command);

}  // namespace entrain::attempt
