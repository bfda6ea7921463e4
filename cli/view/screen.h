// The full-screen view as text: a pure function of what is known, what was chosen, and the size of the terminal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/colour.h"
#include "cli/view/loss_history.h"
#include "cli/view/sweep_view.h"
#include "cli/view/view_state.h"

namespace entrain::cli::view {

struct LogView {
  std::string name;  // of the run
  std::vector<std::string> lines;
  std::string note;  // e.g. that the coordinator is away; empty: nothing
};

// At most `height` lines, none wider than `width` columns; the last one says what keys do or what is asked.
std::vector<std::string> RenderScreen(const SweepView& sweep, const ViewState& state, const LossHistory& history, const LogView& log,
                                      int width, int height, Colour colour);

// Runs that are shown at once on such a terminal: how far a page key goes.
int PageRows(const SweepView& sweep, const ViewState& state, int height);

}  // namespace entrain::cli::view
