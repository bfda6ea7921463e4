#include "cli/view/terminal.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "base/strings.h"
#include "cli/format.h"

namespace entrain::cli::view {
namespace {

// The other screen, no cursor; and back.
constexpr std::string_view kTakeBytes = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J";
constexpr std::string_view kGiveBackBytes = "\x1b[?25h\x1b[?1049l";

}  // namespace

Terminal::Terminal(int in_fd, int out_fd) : in_fd_(in_fd), out_fd_(out_fd) {
  ::tcgetattr(in_fd_, &before_);
  Take();
}

Terminal::~Terminal() { GiveBack(); }

void Terminal::Take() {
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  // Ctrl-C stays a signal; Ctrl-Z becomes a key, since the terminal must be given back first.
  raw.c_cc[VSUSP] = _POSIX_VDISABLE;
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  ::tcsetattr(in_fd_, TCSADRAIN, &raw);
  WriteTerminal(out_fd_, kTakeBytes);
}

void Terminal::GiveBack() {
  WriteTerminal(out_fd_, kGiveBackBytes);
  ::tcsetattr(in_fd_, TCSADRAIN, &before_);
}

std::string Terminal::Read(bool* ended) {
  std::string typed;
  for (;;) {
    pollfd ready{in_fd_, POLLIN, 0};
    if (::poll(&ready, 1, 0) <= 0) return typed;
    char bytes[256];
    const ssize_t got = ::read(in_fd_, bytes, sizeof(bytes));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      *ended = true;
      return typed;
    }
    typed.append(bytes, static_cast<std::size_t>(got));
  }
}

std::string FrameBytes(const std::vector<std::string>& lines, int width) {
  // Synchronised update (ignored where unknown), so that no half-drawn frame is seen.
  std::string bytes = "\x1b[?2026h\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) bytes += "\r\n";
    bytes += lines[i];
    // At the right edge the cursor waits on the last character, which erasing would take away.
    if (DisplayWidth(lines[i]) < width) bytes += "\x1b[K";
  }
  bytes += "\x1b[0m\x1b[?2026l";
  return bytes;
}

void Terminal::Draw(const std::vector<std::string>& lines) { WriteTerminal(out_fd_, FrameBytes(lines, size().width)); }

void Terminal::Suspend() {
  GiveBack();
  ::raise(SIGSTOP);
  Take();
}

}  // namespace entrain::cli::view
