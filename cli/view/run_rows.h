// The live view's rows: a sweep's head, the titles, and a line a run, in columns that fit the terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/colour.h"
#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

inline constexpr int kColumnGap = 2;

// Widths of the columns of one frame; 0 leaves a column out.
struct Columns {
  int state = 8;
  int label = 0;
  int bar = 0;
  int steps = 0;
  int eta = 0;
  int loss = 0;
  int perplexity = 0;
  int speed = 0;
  int heat = 0;
  int curve = 0;

  int Used() const {
    int used = state + kColumnGap + label;
    for (const int width : {bar, steps, eta, loss, perplexity, speed, heat, curve}) used += width > 0 ? kColumnGap + width : 0;
    return used;
  }
};

// Fits them to `width`: what a row can give up goes first where it is narrow. `with_curve`: a sparkline of the loss when there is room.
Columns FitColumns(const SweepView& sweep, int width, Colour colour, bool with_curve = false);

std::string TitleLine(const Columns& columns, Colour colour);
// `curve` is the loss as a sparkline, at most columns.curve wide.
std::string RunLine(const RunView& run, const Columns& columns, Colour colour, const std::string& curve = "");
// Name, progress and ETA; how many runs are in which state, slots, addresses; the note, if there is one.
std::vector<std::string> HeaderLines(const SweepView& sweep, int width, Colour colour);
// "1 queued, 2 running".
std::string CountsText(const std::vector<RunView>& runs);
Style StyleOf(const RunView& run);
// One short word a state, so that the column stays narrow.
std::string_view StateWord(const RunView& run);

// A bar of `width` columns, `share` in [0, 1] of it full.
std::string Bar(double share, int width, Colour colour, Style style);

}  // namespace entrain::cli::view
