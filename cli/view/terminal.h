// A terminal taken over: its other screen, keys as they are pressed, a frame drawn over the one before.
#pragma once

#include <termios.h>

#include <string>
#include <vector>

#include "cli/view/painter.h"

namespace entrain::cli::view {

class Terminal {
 public:
  // Takes the terminal over until it is destroyed. Both descriptors are of a terminal. Not thread-safe.
  Terminal(int in_fd, int out_fd);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  int in_fd() const { return in_fd_; }
  TerminalSize size() const { return SizeOf(out_fd_); }
  // What was typed since the last call; never waits. `ended` is set when the terminal is gone.
  std::string Read(bool* ended);
  // At most as many lines as the terminal is high.
  void Draw(const std::vector<std::string>& lines);
  // Gives the terminal back, stops this process until it is continued, and takes the terminal again.
  void Suspend();

 private:
  void Take();
  void GiveBack();

  int in_fd_;
  int out_fd_;
  termios before_{};
};

// The bytes that show `lines` on a cleared terminal `width` columns wide, from its first line.
std::string FrameBytes(const std::vector<std::string>& lines, int width);

}  // namespace entrain::cli::view
