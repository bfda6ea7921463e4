// Draws a block of lines in place on a terminal: each frame over the one before, without leaving the scroll-back.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace entrain::cli::view {

// The bytes that replace the block `before` by `after` on a terminal of `width` columns. The cursor rests on the line below the
// block. A block drawn on a wider terminal has been wrapped by it; its rows are counted as they lie now.
std::string RedrawBytes(const std::vector<std::string>& before, const std::vector<std::string>& after, int width);

struct TerminalSize {
  int width = 80;
  int height = 24;
};
// Of the terminal behind the descriptor; 80 x 24 when it does not say.
TerminalSize SizeOf(int fd);
// All of it; nothing when the terminal is gone, since no program depends on being seen.
void WriteTerminal(int fd, std::string_view bytes);

// Hides the cursor while it lives. Not thread-safe.
class Painter {
 public:
  explicit Painter(int fd);
  ~Painter();
  Painter(const Painter&) = delete;
  Painter& operator=(const Painter&) = delete;
  void Draw(std::vector<std::string> lines);

 private:
  int fd_;
  std::vector<std::string> drawn_;
};

}  // namespace entrain::cli::view
