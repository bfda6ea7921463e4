// A program in a terminal that a test can read and type into: tmux, with a server of its own.
#pragma once

#include <functional>
#include <string>

namespace entrain::testing {

class Tmux {
 public:
  // Runs `command` (a shell's) on a terminal of that size; `folder` holds the server's socket.
  Tmux(const std::string& folder, const std::string& command, int width, int height);
  ~Tmux();
  Tmux(const Tmux&) = delete;
  Tmux& operator=(const Tmux&) = delete;

  // A key as tmux names it ("Down", "Escape", "q").
  void Press(const std::string& key) const;
  void Type(const std::string& text) const;
  void Resize(int width, int height) const;
  // What the terminal shows, a line each; with escape sequences of colours when asked for.
  std::string Screen(bool colours = false) const;
  // Fails the test, with what is shown, when the text does not come.
  void Await(const std::string& text) const;
  void Await(const std::function<bool(const std::string& screen)>& condition, const std::string& what) const;

 private:
  std::string Run(const std::string& arguments) const;
  std::string socket_;
};

std::string ShellQuoted(const std::string& text);

}  // namespace entrain::testing
