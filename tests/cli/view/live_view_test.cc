#include "cli/view/live_view.h"

#include "cli/format.h"
#include "gtest/gtest.h"
#include "tests/cli/view/sweep_fixture.h"

namespace entrain::cli::view {
namespace {

std::string Frame(const SweepView& sweep, int width, int height, Colour colour = Colour::kNone) {
  std::string text = "\n";
  for (const std::string& line : RenderLive(sweep, width, height, colour)) text += line + "\n";
  return text;
}

TEST(LiveViewTest, WideWithoutColour) {
  EXPECT_EQ(Frame(HalfWaySweep(), 110, 24), R"(
sweep quickstart  ######################..................  56%  ETA 1m10s
1 queued, 1 running, 1 succeeded, 1 halted   slots 2/2
STATE     RUN                                         STEP     ETA    LOSS      PPL    TOK/S  ENTROPY
done      SM+LN+G  ##############################  200/200           2.346    11.02           @%#*|+=-:
running   SM+R     #######.......................   50/200     30s   3.100    24.53     5.1k  @@@@|!@@!
stopped   SM       ##################............  120/200           4.500                    ++++|!!!!
          stopped: entropy collapse: layer 1: all 4 heads below 0.05 U at steps 70 and 120
queued    SM+G     ..............................    0/200
          waiting: needs 2 slots, 0 of 2 are free
)");
}

TEST(LiveViewTest, EightyColumns) {
  EXPECT_EQ(Frame(HalfWaySweep(), 80, 24), R"(
sweep quickstart  ######################..................  56%  ETA 1m10s
1 queued, 1 running, 1 succeeded, 1 halted   slots 2/2
STATE     RUN                  STEP     ETA    LOSS      PPL    TOK/S  ENTROPY
done      SM+LN+G  #######  200/200           2.346    11.02           @%#*|+=-:
running   SM+R     #......   50/200     30s   3.100    24.53     5.1k  @@@@|!@@!
stopped   SM       ####...  120/200           4.500                    ++++|!!!!
          stopped: entropy collapse: layer 1: all 4 heads below 0.05 U at steps
          70 and 120
queued    SM+G     .......    0/200
          waiting: needs 2 slots, 0 of 2 are free
)");
}

TEST(LiveViewTest, Narrow) {
  EXPECT_EQ(Frame(HalfWaySweep(), 40, 24), R"(
sweep quickstart  ###...  56%  ETA 1m10s
1 queued, 1 running, 1 succeeded, 1 hal…
STATE     RUN         STEP      PPL
done      SM+LN+G  200/200    11.02
running   SM+R      50/200    24.53
stopped   SM       120/200
          stopped: entropy collapse:
          layer 1: all 4 heads below
          0.05 U at steps 70 and 120
queued    SM+G       0/200
          waiting: needs 2 slots, 0 of …
)");
}

TEST(LiveViewTest, LowTerminalKeepsWhatTrainsAndCountsTheRest) {
  EXPECT_EQ(Frame(HalfWaySweep(), 80, 6), R"(
sweep quickstart  ######################..................  56%  ETA 1m10s
1 queued, 1 running, 1 succeeded, 1 halted   slots 2/2
STATE     RUN                  STEP     ETA    LOSS      PPL    TOK/S  ENTROPY
done      SM+LN+G  #######  200/200           2.346    11.02           @%#*|+=-:
running   SM+R     #......   50/200     30s   3.100    24.53     5.1k  @@@@|!@@!
and 2 more: 1 queued, 1 halted
)");
}

TEST(LiveViewTest, NothingIsEverWiderOrHigherThanTheTerminal) {
  SweepView sweep = HalfWaySweep();
  sweep.note = "coordinator 127.0.0.1:7070 is away, trying again; the runs go on without it";
  sweep.runs[0].label = "SM+LN+G lr=0.00100000 seed=1337 reg=mean_seq gamma=0.25";
  for (const Colour colour : {Colour::kNone, Colour::k256, Colour::kTrue}) {
    for (int width = 20; width < 200; width += 3) {
      for (const int height : {1, 3, 6, 40}) {
        const std::vector<std::string> lines = RenderLive(sweep, width, height, colour);
        EXPECT_LE(static_cast<int>(lines.size()), height);
        for (const std::string& line : lines) EXPECT_LE(DisplayWidth(line), width) << line;
      }
    }
  }
}

TEST(LiveViewTest, ColourAddsNothingButColour) {
  // Bars and strips differ; the words are the same.
  SweepView sweep = HalfWaySweep();
  for (RunView& run : sweep.runs) run.entropy_fraction.clear();
  const std::vector<std::string> coloured = RenderLive(sweep, 110, 24, Colour::kTrue);
  EXPECT_EQ(coloured.size(), RenderLive(sweep, 110, 24, Colour::kNone).size());
  EXPECT_EQ(coloured[5].substr(0, 12), "\x1b[33mstopped");
}

TEST(LiveViewTest, NoteOfTheProgramIsShownAndFinishedSweepsShowNoSlots) {
  SweepView sweep = HalfWaySweep();
  sweep.note = "coordinator is away";
  EXPECT_EQ(RenderLive(sweep, 80, 24, Colour::kNone)[2], "coordinator is away");
  sweep.finished = true;
  const std::string frame = Frame(sweep, 80, 24);
  EXPECT_EQ(frame.find("slots 2/2"), std::string::npos);
  EXPECT_NE(frame.find("finished"), std::string::npos);
}

TEST(LiveViewTest, WhatManyRunsWaitForIsToldOnce) {
  SweepView sweep = HalfWaySweep();
  const std::size_t lines = RenderLive(sweep, 80, 40, Colour::kNone).size();
  sweep.runs.push_back(sweep.runs[3]);
  EXPECT_EQ(RenderLive(sweep, 80, 40, Colour::kNone).size(), lines + 1);
  sweep.runs.push_back(sweep.runs[3]);
  sweep.runs.back().reason = "needs 4 slots";
  EXPECT_EQ(RenderLive(sweep, 80, 40, Colour::kNone).size(), lines + 3);
}

TEST(LiveViewTest, BarsFillByShare) {
  EXPECT_EQ(Bar(0.0, 4, Colour::kNone, Style::kPlain), "....");
  EXPECT_EQ(Bar(0.5, 4, Colour::kNone, Style::kPlain), "##..");
  EXPECT_EQ(Bar(1.0, 4, Colour::kNone, Style::kPlain), "####");
  EXPECT_EQ(Bar(7.0, 4, Colour::kNone, Style::kPlain), "####");
  EXPECT_EQ(DisplayWidth(Bar(0.3, 7, Colour::kTrue, Style::kGreen)), 7);
}

}  // namespace
}  // namespace entrain::cli::view
