#include "cli/view/screen.h"

#include "cli/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/view/sweep_fixture.h"

namespace entrain::cli::view {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

std::string Frame(const SweepView& sweep, const ViewState& state, int width, int height, const LossHistory& history = {},
                  const LogView& log = {}) {
  std::string text = "\n";
  for (std::string line : RenderScreen(sweep, state, history, log, width, height, Colour::kNone)) {
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

LossHistory FallingLoss() {
  LossHistory history;
  SweepView sweep = HalfWaySweep();
  for (int step = 10; step <= 50; step += 10) {
    sweep.runs[1].step = step;
    sweep.runs[1].loss = 5.0 - 0.04 * step;
    history.Note(sweep);
  }
  return history;
}

TEST(ScreenTest, RunsWarningsAndTheChosenRun) {
  ViewState state;
  state.selected = "SM+R";
  EXPECT_EQ(Frame(HalfWaySweep(), state, 110, 20, FallingLoss()), R"(
sweep quickstart  ######################..................  56%  ETA 1m10s
1 queued, 1 running, 1 succeeded, 1 halted   slots 2/2
  STATE     RUN                                STEP     ETA    LOSS      PPL    TOK/S  LOSS CURVE    ENTROPY
  done      SM+LN+G  #####################  200/200           2.346    11.02           =             @%#*|+=-:
> running   SM+R     #####................   50/200     30s   3.100    24.53     5.1k  #*=:_         @@@@|!@@!
  stopped   SM       ############.........  120/200           4.500                    =             ++++|!!!!
  queued    SM+G     .....................    0/200



! collapsing  SM+R: layer 1: 2 of 4 heads below 0.05 U at step 50
-- SM+R  SM+R  running ---------------------------------------------------------------------------------------
layer x head, share of U   step 50 of 200  ETA 30s  5.1k tokens/s
0 @@@@                     loss 3.1000  perplexity 24.53
1 !@@!                     #*=:_
                           lowest: layer 1, mean 0.457 U
                           ! layer 1: 2 of 4 heads below 0.05 U at step 50


s stop  p pause  l logs  o sort  r reverse  / filter  d detail  ? help  q leave
)");
}

TEST(ScreenTest, EveryScreenFitsItsTerminal) {
  SweepView sweep = HalfWaySweep();
  sweep.note = "coordinator 127.0.0.1:7070 is away, trying again; the runs go on without it";
  for (int i = 0; i < 40; ++i) {
    sweep.runs.push_back(sweep.runs[1]);
    sweep.runs.back().id = "more" + std::to_string(i);
    sweep.runs.back().n_layer = 12;
    sweep.runs.back().n_head = 12;
    sweep.runs.back().entropy_fraction.assign(144, 0.01f);
  }
  const LogView log{"SM", std::vector<std::string>(100, std::string(300, 'x')), "away"};
  for (const auto pane : {ViewState::Pane::kRuns, ViewState::Pane::kLogs, ViewState::Pane::kHelp}) {
    for (const char* selected : {"SM", "more20", "gone"}) {
      ViewState state;
      state.pane = pane;
      state.selected = selected;
      for (const Colour colour : {Colour::kNone, Colour::kTrue}) {
        for (int width = 20; width < 180; width += 7) {
          for (const int height : {1, 2, 5, 12, 18, 24, 60}) {
            const auto lines = RenderScreen(sweep, state, FallingLoss(), log, width, height, colour);
            EXPECT_EQ(static_cast<int>(lines.size()), height);
            for (const std::string& line : lines) ASSERT_LE(DisplayWidth(line), width) << line;
          }
        }
      }
    }
  }
}

TEST(ScreenTest, TheChosenRunOfALongListIsInSight) {
  SweepView sweep = HalfWaySweep();
  for (int i = 0; i < 40; ++i) {
    sweep.runs.push_back(sweep.runs[3]);
    sweep.runs.back().id = sweep.runs.back().label = "run" + std::to_string(i);
  }
  ViewState state;
  for (const char* selected : {"SM+LN+G", "run17", "run39"}) {
    state.selected = selected;
    EXPECT_THAT(Frame(sweep, state, 100, 16), HasSubstr(std::string("> ") + (selected[0] == 'r' ? "queued    " : "done      ") + selected));
  }
  EXPECT_THAT(Frame(sweep, state, 140, 16), HasSubstr("runs 35-44 of 44\n  STATE"));
}

TEST(ScreenTest, PromptsReplaceTheKeys) {
  ViewState state;
  state.prompt = ViewState::Prompt::kConfirm;
  state.asked = {Command::Kind::kStop, "SM", "SM"};
  EXPECT_THAT(Frame(HalfWaySweep(), state, 80, 24), HasSubstr("\nstop SM? y/n\n"));
  state.prompt = ViewState::Prompt::kFilter;
  state.filter = "+g";
  const std::string frame = Frame(HalfWaySweep(), state, 100, 24);
  EXPECT_THAT(frame, HasSubstr("\nfilter: +g_"));
  EXPECT_THAT(frame, HasSubstr("SM+G"));
  EXPECT_THAT(frame, Not(HasSubstr("running   SM+R")));
  EXPECT_THAT(frame, HasSubstr("2 filtered out, filter: +g"));
}

TEST(ScreenTest, LogsFollowTheNewestLineOrStayBack) {
  LogView log{"SM seed=1", {}, ""};
  for (int i = 1; i <= 30; ++i) log.lines.push_back("line " + std::to_string(i));
  ViewState state;
  state.pane = ViewState::Pane::kLogs;
  std::string frame = Frame(HalfWaySweep(), state, 80, 10, {}, log);
  EXPECT_THAT(frame, HasSubstr("-- logs of SM seed=1, following\nline 25\n"));
  EXPECT_THAT(frame, HasSubstr("line 30\n"));
  state.log_lines_up = 10;
  frame = Frame(HalfWaySweep(), state, 80, 10, {}, log);
  EXPECT_THAT(frame, HasSubstr("10 lines back\nline 15\n"));
  EXPECT_THAT(frame, Not(HasSubstr("line 21")));
  state.log_lines_up = 1000;
  EXPECT_THAT(Frame(HalfWaySweep(), state, 80, 10, {}, log), HasSubstr("24 lines back\nline 1\n"));
}

TEST(ScreenTest, WhatALogSaysCannotMoveTheCursor) {
  ViewState state;
  state.pane = ViewState::Pane::kLogs;
  EXPECT_THAT(Frame(HalfWaySweep(), state, 80, 10, {}, {"SM", {"a\x1b[2Jb"}, ""}), HasSubstr("\na [2Jb\n"));
}

}  // namespace
}  // namespace entrain::cli::view
