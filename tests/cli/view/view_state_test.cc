#include "cli/view/view_state.h"

#include "gtest/gtest.h"
#include "tests/cli/view/sweep_fixture.h"

namespace entrain::cli::view {
namespace {

using CommandKind = Command::Kind;

// The runs of the fixture: SM+LN+G succeeded, SM+R running, SM halted, SM+G queued.
class ViewStateTest : public ::testing::Test {
 protected:
  Command Press(const char* text) { return OnKey({Key::Kind::kText, text}, sweep_, 2, &state_); }
  Command Press(Key::Kind kind) { return OnKey({kind, ""}, sweep_, 2, &state_); }
  std::vector<std::string> Shown() const {
    std::vector<std::string> labels;
    for (const std::size_t index : ShownRuns(sweep_, state_)) labels.push_back(sweep_.runs[index].label);
    return labels;
  }
  SweepView sweep_ = HalfWaySweep();
  ViewState state_;
};

TEST_F(ViewStateTest, ChoosesARunAndStaysWithinTheList) {
  Press(Key::Kind::kDown);
  EXPECT_EQ(state_.selected, "SM+R");
  Press("G");
  EXPECT_EQ(state_.selected, "SM+G");
  Press("j");
  EXPECT_EQ(state_.selected, "SM+G");
  Press(Key::Kind::kPageUp);
  EXPECT_EQ(state_.selected, "SM+R");
  Press(Key::Kind::kHome);
  EXPECT_EQ(state_.selected, "SM+LN+G");
}

TEST_F(ViewStateTest, StoppingAsksFirst) {
  state_.selected = "SM+R";
  EXPECT_EQ(Press("s"), Command{});
  EXPECT_EQ(state_.prompt, ViewState::Prompt::kConfirm);
  EXPECT_EQ(Press("y"), (Command{CommandKind::kStop, "SM+R", "SM+R"}));
  EXPECT_EQ(state_.prompt, ViewState::Prompt::kNone);
}

TEST_F(ViewStateTest, AnythingButYesStopsNothing) {
  for (const char* answer : {"n", "s", "q", " "}) {
    Press("S");
    EXPECT_EQ(state_.asked.id, "s1");
    EXPECT_EQ(Press(answer), Command{}) << answer;
    EXPECT_EQ(state_.prompt, ViewState::Prompt::kNone);
  }
  Press("S");
  EXPECT_EQ(Press(Key::Kind::kEnter), Command{});
}

TEST_F(ViewStateTest, ARunThatHasEndedIsNotStopped) {
  state_.selected = "SM";
  Press("s");
  EXPECT_EQ(state_.prompt, ViewState::Prompt::kNone);
  EXPECT_EQ(state_.message, "SM has ended");
  EXPECT_EQ(Press("p"), Command{});
}

TEST_F(ViewStateTest, PauseResumesWhatIsPaused) {
  state_.selected = "SM+R";
  EXPECT_EQ(Press("p"), (Command{CommandKind::kPause, "SM+R", "SM+R"}));
  EXPECT_EQ(Press("P"), (Command{CommandKind::kPause, "s1", "sweep quickstart"}));
  sweep_.runs[1].state = domain::RunState::kPaused;
  EXPECT_EQ(Press("p"), (Command{CommandKind::kResume, "SM+R", "SM+R"}));
  sweep_.runs[3].state = domain::RunState::kPaused;
  EXPECT_EQ(Press("P"), (Command{CommandKind::kResume, "s1", "sweep quickstart"}));
}

TEST_F(ViewStateTest, Sorts) {
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+LN+G", "SM+R", "SM", "SM+G"}));
  Press("o");  // by state
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+R", "SM", "SM+G", "SM+LN+G"}));
  Press("o");  // by step
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+LN+G", "SM", "SM+R", "SM+G"}));
  Press("o");  // by loss; a run without one last
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+LN+G", "SM+R", "SM", "SM+G"}));
  Press("o");  // by perplexity
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+LN+G", "SM+R", "SM", "SM+G"}));
  Press("o");  // by lowest entropy
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM", "SM+R", "SM+LN+G", "SM+G"}));
  Press("r");
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+G", "SM+LN+G", "SM+R", "SM"}));
  Press("o");
  EXPECT_EQ(state_.order, Order::kSweep);
}

TEST_F(ViewStateTest, FiltersByLabelAndState) {
  Press("/");
  for (const char* c : {"s", "m", "+", "g"}) Press(c);
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+G"}));
  Press(Key::Kind::kBackspace);
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM+LN+G", "SM+R", "SM+G"}));
  // While a filter is typed, letters are no commands.
  Press("q");
  EXPECT_TRUE(Shown().empty());
  Press(Key::Kind::kEscape);
  EXPECT_EQ(Shown().size(), 4u);
  Press("/");
  for (const char* c : {"c", "o", "l", "l"}) Press(c);
  Press(Key::Kind::kEnter);
  EXPECT_EQ(Shown(), (std::vector<std::string>{"SM"}));
  Press(Key::Kind::kEscape);
  EXPECT_EQ(Shown().size(), 4u);
}

TEST_F(ViewStateTest, WithNothingShownNothingIsDone) {
  state_.filter = "no such run";
  for (const char* key : {"s", "p", "l", "j"}) EXPECT_EQ(Press(key), Command{}) << key;
  EXPECT_EQ(Press(Key::Kind::kEnter), Command{});
}

TEST_F(ViewStateTest, LogsFollowUntilScrolledAndBack) {
  state_.selected = "SM";
  EXPECT_EQ(Press("l"), (Command{CommandKind::kOpenLogs, "SM", "SM"}));
  Press(Key::Kind::kUp);
  Press(Key::Kind::kPageUp);
  EXPECT_EQ(state_.log_lines_up, 3);
  EXPECT_EQ(Press("s"), Command{});  // no commands to runs from here
  Press(Key::Kind::kEnd);
  EXPECT_EQ(state_.log_lines_up, 0);
  EXPECT_EQ(Press(Key::Kind::kEscape).kind, CommandKind::kCloseLogs);
  EXPECT_EQ(state_.pane, ViewState::Pane::kRuns);
}

TEST_F(ViewStateTest, LeavingIsAskedForOnlyWhereItEndsRuns) {
  EXPECT_EQ(Press("q").kind, CommandKind::kLeave);
  state_.leaving_ends_runs = true;
  EXPECT_EQ(Press("q"), Command{});
  EXPECT_EQ(Press("y").kind, CommandKind::kLeave);
}

TEST_F(ViewStateTest, AnyKeyLeavesTheHelp) {
  Press("?");
  EXPECT_EQ(state_.pane, ViewState::Pane::kHelp);
  EXPECT_EQ(Press("s"), Command{});
  EXPECT_EQ(state_.pane, ViewState::Pane::kRuns);
  EXPECT_EQ(state_.prompt, ViewState::Prompt::kNone);
}

}  // namespace
}  // namespace entrain::cli::view
