#include "coordinator/pool/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/clock.h"
#include "base/files.h"
#include "base/spawn.h"
#include "base/strings.h"

namespace entrain::pool {
namespace {

constexpr std::size_t kMaxOutput = 4 << 20;

class Pipe {
 public:
  Pipe() {
    if (::pipe2(ends_.data(), O_CLOEXEC) != 0) ends_ = {-1, -1};
  }
  ~Pipe() {
    CloseRead();
    CloseWrite();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  bool ok() const { return ends_[0] >= 0; }
  int read_end() const { return ends_[0]; }
  int write_end() const { return ends_[1]; }
  void CloseRead() { Close(&ends_[0]); }
  void CloseWrite() { Close(&ends_[1]); }

 private:
  static void Close(int* fd) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
  std::array<int, 2> ends_{-1, -1};
};

struct Pipes {
  Pipe input;
  Pipe output;
  Pipe errors;
};

// False at the end of the stream.
bool ReadSome(int fd, std::string* text) {
  char buffer[16384];
  const ssize_t got = ::read(fd, buffer, sizeof(buffer));
  if (got > 0) text->append(buffer, static_cast<std::size_t>(got));
  return got > 0 || (got < 0 && (errno == EINTR || errno == EAGAIN));
}

// Feeds and reads until both outputs are closed.
absl::Status Converse(Pipes* pipes, const std::string& input, std::int64_t deadline_boot_ms, CommandResult* result) {
  const SystemClock clock;
  ::fcntl(pipes->input.write_end(), F_SETFL, O_NONBLOCK);
  std::size_t fed = 0;
  while (pipes->output.read_end() >= 0 || pipes->errors.read_end() >= 0) {
    if (fed == input.size()) pipes->input.CloseWrite();
    std::array<pollfd, 3> fds = {pollfd{pipes->input.write_end(), POLLOUT, 0}, pollfd{pipes->output.read_end(), POLLIN, 0},
                                 pollfd{pipes->errors.read_end(), POLLIN, 0}};
    const std::int64_t left_ms = deadline_boot_ms - clock.BootMs();
    if (left_ms <= 0) return absl::DeadlineExceededError("did not end in time");
    if (::poll(fds.data(), fds.size(), static_cast<int>(std::min<std::int64_t>(left_ms, 60'000))) < 0 && errno != EINTR) {
      return ErrnoStatus(errno, "poll", "a command's pipes");
    }
    if (fds[0].revents != 0) {
      const ssize_t put = ::write(pipes->input.write_end(), input.data() + fed, input.size() - fed);
      if (put > 0) fed += static_cast<std::size_t>(put);
      if (put < 0 && errno != EAGAIN && errno != EINTR) fed = input.size();  // it does not want the rest
    }
    if (fds[1].revents != 0 && !ReadSome(pipes->output.read_end(), &result->output)) pipes->output.CloseRead();
    if (fds[2].revents != 0 && !ReadSome(pipes->errors.read_end(), &result->errors)) pipes->errors.CloseRead();
    if (result->output.size() + result->errors.size() > kMaxOutput) return absl::ResourceExhaustedError("wrote more than 4 MiB");
  }
  return absl::OkStatus();
}

// Its wait status. What still runs at the deadline is killed.
absl::StatusOr<int> Reap(pid_t pid, std::int64_t deadline_boot_ms) {
  const SystemClock clock;
  bool killed = false;
  for (;;) {
    int status = 0;
    const pid_t found = ::waitpid(pid, &status, killed ? 0 : WNOHANG);
    if (found == pid) return killed ? absl::StatusOr<int>(absl::DeadlineExceededError("did not end in time")) : status;
    if (found < 0 && errno != EINTR) return ErrnoStatus(errno, "wait for", StrCat("process ", pid));
    if (!killed && clock.BootMs() >= deadline_boot_ms) {
      ::kill(pid, SIGKILL);
      killed = true;
    } else if (!killed) {
      ::poll(nullptr, 0, 5);
    }
  }
}

}  // namespace

absl::StatusOr<CommandResult> RunCommand(const std::vector<std::string>& arguments, const std::vector<std::string>& environment,
                                         const std::string& input, std::int64_t limit_ms) {
  const std::int64_t deadline_boot_ms = SystemClock().BootMs() + limit_ms;
  Pipes pipes;
  if (!pipes.input.ok() || !pipes.output.ok() || !pipes.errors.ok()) return ErrnoStatus(errno, "make pipes for", arguments[0]);
  const absl::StatusOr<pid_t> pid = Spawn(arguments, {.streams = {pipes.input.read_end(), pipes.output.write_end(), pipes.errors.write_end()},
                                                      .environment = environment});
  if (!pid.ok()) return pid.status();
  pipes.input.CloseRead();
  pipes.output.CloseWrite();
  pipes.errors.CloseWrite();
  CommandResult result;
  const absl::Status conversed = Converse(&pipes, input, deadline_boot_ms, &result);
  const absl::StatusOr<int> ended = Reap(*pid, conversed.ok() ? deadline_boot_ms : 0);
  if (!conversed.ok()) return absl::Status(conversed.code(), StrCat(arguments[0], " ", std::string(conversed.message())));
  if (!ended.ok()) return absl::Status(ended.status().code(), StrCat(arguments[0], " ", std::string(ended.status().message())));
  const int status = *ended;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace entrain::pool
