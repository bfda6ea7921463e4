#include "tests/integration/tmux.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/strings.h"
#include "tests/integration/process.h"

namespace entrain::testing {
namespace {

constexpr int kAwaitMs = 60'000;

}  // namespace

std::string ShellQuoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

Tmux::Tmux(const std::string& folder, const std::string& command, int width, int height) {
  // Each server gets a socket of its own: one that was told to end may still answer for a moment.
  static int servers = 0;
  socket_ = StrCat(folder, "/tmux", ++servers);
  // The pane stays when its program ends, so that the end can be read.
  Run(StrCat("-f /dev/null new-session -d -x ", width, " -y ", height, " ", ShellQuoted(command), " \\; set -g remain-on-exit on"));
}

Tmux::~Tmux() { Run("kill-server"); }

std::string Tmux::Run(const std::string& arguments) const {
  const std::string command = StrCat("tmux -u -S ", ShellQuoted(socket_), " ", arguments, " 2>&1");
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  std::string output;
  char bytes[4096];
  for (std::size_t got = 0; (got = std::fread(bytes, 1, sizeof(bytes), pipe)) > 0;) output.append(bytes, got);
  ::pclose(pipe);
  return output;
}

void Tmux::Press(const std::string& key) const { Run("send-keys " + ShellQuoted(key)); }
void Tmux::Type(const std::string& text) const { Run("send-keys -l " + ShellQuoted(text)); }
void Tmux::Resize(int width, int height) const { Run(StrCat("resize-window -x ", width, " -y ", height)); }
std::string Tmux::Screen(bool colours) const { return Run(colours ? "capture-pane -p -e" : "capture-pane -p"); }

void Tmux::Await(const std::function<bool(const std::string& screen)>& condition, const std::string& what) const {
  std::string screen;
  const bool held = Eventually(
      [&] {
        screen = Screen();
        return condition(screen);
      },
      kAwaitMs);
  EXPECT_TRUE(held) << "not shown: " << what << "\n" << screen;
}

void Tmux::Await(const std::string& text) const {
  Await([&text](const std::string& screen) { return screen.find(text) != std::string::npos; }, text);
}

}  // namespace entrain::testing
