#include "cli/view/painter.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/strings.h"
#include "cli/format.h"

namespace entrain::cli::view {
namespace {

int RowsOf(const std::vector<std::string>& lines, int width) {
  int rows = 0;
  for (const std::string& line : lines) rows += std::max(1, (DisplayWidth(line) + width - 1) / width);
  return rows;
}

}  // namespace

std::string RedrawBytes(const std::vector<std::string>& before, const std::vector<std::string>& after, int width) {
  // Synchronised update (ignored where unknown), so that no half-drawn frame is seen.
  std::string bytes = "\x1b[?2026h";
  const int rows = RowsOf(before, std::max(1, width));
  if (rows > 0) StrAppend(&bytes, "\r\x1b[", rows, "A");
  for (const std::string& line : after) StrAppend(&bytes, line, "\x1b[K\n");
  bytes += "\x1b[J\x1b[?2026l";
  return bytes;
}

TerminalSize SizeOf(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return TerminalSize{};
  return TerminalSize{size.ws_col, size.ws_row};
}

void WriteTerminal(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

Painter::Painter(int fd) : fd_(fd) { WriteTerminal(fd_, "\x1b[?25l"); }

Painter::~Painter() { WriteTerminal(fd_, "\x1b[?25h"); }

void Painter::Draw(std::vector<std::string> lines) {
  WriteTerminal(fd_, RedrawBytes(drawn_, lines, SizeOf(fd_).width));
  drawn_ = std::move(lines);
}

}  // namespace entrain::cli::view
