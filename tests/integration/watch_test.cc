// `entrain watch` on a real terminal (tmux), with a real coordinator and worker: keys, filter, logs, colours, resizing, and a coordinator that is
// killed and comes back.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"
#include "tests/integration/tmux.h"

namespace entrain::testing {
namespace {

// Long enough to be looked at; the tests stop what they have seen.
constexpr int kManySteps = 200'000;

std::vector<std::string> LinesOf(const std::string& screen) {
  std::vector<std::string> lines;
  std::istringstream text(screen);
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

bool Shows(const std::string& screen, const std::string& text) { return screen.find(text) != std::string::npos; }

// The line of the run with this label in the table; empty when it is not shown.
std::string RowOf(const std::string& screen, const std::string& label) {
  for (const std::string& line : LinesOf(screen)) {
    std::istringstream words(line.starts_with(">") ? line.substr(1) : line);
    std::string state;
    std::string name;
    words >> state >> name;
    if (name == label) return line;
  }
  return "";
}

class WatchTest : public ::testing::Test {
 protected:
  // Two runs, of which a worker of two slots trains both.
  void Begin(const std::string& name, int steps = kManySteps) {
    cluster_ = std::make_unique<Cluster>(name);
    cluster_->StartCoordinator();
    cluster_->StartWorker("w1", 2);
    std::string yaml = SmallSweep("watched", "SM+LN+G", steps, 1);
    yaml.replace(yaml.find("  - preset: SM+LN+G\n"), 20, "  - preset: SM+LN+G\n  - preset: SM+G\n");
    sweep_ = cluster_->Submit(yaml);
    cluster_->AwaitStep(sweep_, 20);
  }
  std::string Command(const std::string& environment = "") const {
    return StrCat("env -u NO_COLOR COLORTERM=truecolor ", environment, " ", ShellQuoted(StrCat(ENTRAIN_BIN_DIR, "/entrain")), " watch ", sweep_,
                  " --coordinator ", cluster_->address(), "; echo \"exit code $?\"");
  }
  Tmux Open(const std::string& environment = "") const { return Tmux(cluster_->root(), Command(environment), 120, 40); }
  std::string StateOf(const std::string& label) const {
    const v1::Sweep sweep = cluster_->GetSweep(sweep_);
    for (const v1::RunSummary& run : sweep.runs()) {
      if (run.label() == label) return run.state();
    }
    return "";
  }
  void AwaitStateOf(const std::string& label, const std::string& state) const {
    EXPECT_TRUE(Eventually([&] { return StateOf(label) == state; })) << label << " is " << StateOf(label);
  }
  std::unique_ptr<Cluster> cluster_;
  std::string sweep_;
};

TEST_F(WatchTest, KeysChoosePauseResumeAndStop) {
  Begin("watch-keys");
  const Tmux terminal = Open();
  terminal.Await("q leave");
  terminal.Await([](const std::string& screen) { return RowOf(screen, "SM+LN+G").starts_with("> running"); }, "the first run chosen, running");
  terminal.Press("Down");
  terminal.Await([](const std::string& screen) { return RowOf(screen, "SM+G").starts_with("> "); }, "the second run chosen");

  terminal.Press("p");
  AwaitStateOf("SM+G", "paused");
  terminal.Await([](const std::string& screen) { return Shows(RowOf(screen, "SM+G"), "paused"); }, "SM+G paused");
  EXPECT_EQ(StateOf("SM+LN+G"), "running");
  terminal.Press("p");
  AwaitStateOf("SM+G", "running");

  // Stopping is asked for; n stops nothing.
  terminal.Press("s");
  terminal.Await("stop SM+G? y/n");
  terminal.Press("n");
  terminal.Await("nothing was done");
  EXPECT_EQ(StateOf("SM+G"), "running");
  terminal.Press("s");
  terminal.Await("stop SM+G? y/n");
  terminal.Press("y");
  AwaitStateOf("SM+G", "cancelled");
  EXPECT_EQ(StateOf("SM+LN+G"), "running");
  terminal.Await([](const std::string& screen) { return Shows(RowOf(screen, "SM+G"), "cancel"); }, "SM+G cancelled");
  terminal.Press("s");
  terminal.Await("SM+G has ended");

  // The last run ends the watching; its exit code says that runs were cancelled.
  terminal.Press("S");
  terminal.Await("stop every run of sweep watched? y/n");
  terminal.Press("y");
  AwaitStateOf("SM+LN+G", "cancelled");
  terminal.Await("exit code 5");
  // The terminal's own screen is back, with the last frame on it (whose first line tmux scrolls away when it tells that the program ended).
  EXPECT_TRUE(Shows(terminal.Screen(), "2 cancelled")) << terminal.Screen();
  EXPECT_FALSE(Shows(terminal.Screen(), "q leave")) << terminal.Screen();
}

TEST_F(WatchTest, SortsFiltersFollowsLogsAndLeaves) {
  Begin("watch-filter");
  const Tmux terminal = Open();
  terminal.Await("q leave");
  terminal.Press("/");
  terminal.Await("filter: _");
  terminal.Type("ln");
  terminal.Await([](const std::string& screen) { return RowOf(screen, "SM+G").empty() && !RowOf(screen, "SM+LN+G").empty(); }, "SM+LN+G alone");
  terminal.Press("Enter");
  terminal.Await("1 filtered out, filter: ln");
  terminal.Press("Escape");
  terminal.Await([](const std::string& screen) { return !RowOf(screen, "SM+G").empty(); }, "every run again");

  terminal.Press("r");
  terminal.Await([](const std::string& screen) { return screen.find(RowOf(screen, "SM+G")) < screen.find(RowOf(screen, "SM+LN+G")); }, "the order reversed");
  terminal.Press("r");
  terminal.Press("o");
  terminal.Await("by state");

  terminal.Press("l");
  terminal.Await("-- logs of SM+LN+G, following");
  terminal.Await([](const std::string& screen) { return !Shows(screen, "no line yet"); }, "a line of the log");
  terminal.Press("Escape");
  terminal.Await("q leave");
  terminal.Press("?");
  terminal.Await("follow its logs");
  terminal.Press("x");
  terminal.Await("q leave");
  terminal.Press("q");
  terminal.Await("exit code 0");
  EXPECT_EQ(StateOf("SM+LN+G"), "running");
}

TEST_F(WatchTest, FitsATerminalThatChangesItsSize) {
  Begin("watch-resize");
  const Tmux terminal = Open();
  terminal.Await("layer x head");
  for (const auto& [width, height] : {std::pair{80, 24}, {50, 12}, {160, 50}, {20, 5}, {120, 40}}) {
    terminal.Resize(width, height);
    const auto fits = [&, width = width, height = height](const std::string& screen) {
      std::vector<std::string> lines = LinesOf(screen);
      if (static_cast<int>(lines.size()) != height || !lines[0].starts_with("sweep watched")) return false;
      // Keys on the last line and nowhere else: nothing of the old size is left.
      return lines.back().starts_with("s stop") && std::count_if(lines.begin(), lines.end(), [](auto& line) { return line.starts_with("s stop"); }) == 1;
    };
    terminal.Await(fits, StrCat("a frame of ", width, " x ", height));
  }
  terminal.Await("layer x head");
}

TEST_F(WatchTest, TheHeatMapIsColouredUnlessColourIsNotWanted) {
  Begin("watch-colour");
  {
    const Tmux terminal = Open();
    terminal.Await("layer x head");
    EXPECT_TRUE(Shows(terminal.Screen(true), "▀▀")) << terminal.Screen(true);
    EXPECT_TRUE(Shows(terminal.Screen(true), "\x1b[38;2;")) << terminal.Screen(true);
  }
  const Tmux plain = Open("NO_COLOR=1");
  plain.Await("layer x head");
  EXPECT_FALSE(Shows(plain.Screen(true), "\x1b[38;")) << plain.Screen(true);
  EXPECT_FALSE(Shows(plain.Screen(), "▀")) << plain.Screen();
  // Two layers of two heads, by their ramp characters, after the rule with the run's name.
  const std::vector<std::string> lines = LinesOf(plain.Screen());
  const auto map = std::find_if(lines.begin(), lines.end(), [](auto& line) { return line.starts_with("layer x head"); });
  ASSERT_LT(map, lines.end() - 2);
  for (int layer = 0; layer < 2; ++layer) {
    const std::string row = map[layer + 1].substr(0, 4);
    EXPECT_EQ(row.substr(0, 2), StrCat(layer, " "));
    EXPECT_EQ(row.substr(2).find_first_not_of(" .:-=+*#%@!"), std::string::npos) << row;
  }
}

TEST_F(WatchTest, SurvivesAKilledCoordinator) {
  Begin("watch-restart");
  const Tmux terminal = Open();
  terminal.Await("q leave");
  cluster_->coordinator().KillNow();
  terminal.Await("is away for");
  // Keys go on working on what is known; what cannot be done is said.
  terminal.Press("Down");
  terminal.Await([](const std::string& screen) { return RowOf(screen, "SM+G").starts_with("> "); }, "the second run chosen");
  terminal.Press("p");
  terminal.Await("cannot be reached");
  cluster_->StartCoordinator();
  terminal.Await([](const std::string& screen) { return !Shows(screen, "is away"); }, "the coordinator back");
  const std::string before = RowOf(terminal.Screen(), "SM+LN+G");
  terminal.Await([&](const std::string& screen) { return Shows(RowOf(screen, "SM+LN+G"), "running") && RowOf(screen, "SM+LN+G") != before; }, "steps going on");
  terminal.Press("p");
  AwaitStateOf("SM+G", "paused");
}

TEST_F(WatchTest, WithoutATerminalItPrintsLines) {
  Begin("watch-lines", 200);
  const std::string file = cluster_->root() + "/lines";
  Process watch = Process::Start({StrCat(ENTRAIN_BIN_DIR, "/entrain"), "watch", sweep_, "--coordinator", cluster_->address()}, file);
  EXPECT_EQ(watch.Wait(60'000), 0);
  const std::string text = ReadFile(file).value_or("");
  EXPECT_TRUE(Shows(text, "sweep watched (")) << text;
  EXPECT_TRUE(Shows(text, "SM+G: succeeded")) << text;
  EXPECT_FALSE(Shows(text, "\x1b")) << text;
}

}  // namespace
}  // namespace entrain::testing
