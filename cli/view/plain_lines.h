// The live view where there is no terminal: one line for every change worth telling.
#pragma once

#include <string>
#include <vector>

#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

// What changed from `before` to `after`: a run's state (with its reason), a new evaluation, every tenth of its steps, one more
// layer that is collapsing, a new note.
// The first call gets an empty `before`.
std::vector<std::string> ChangeLines(const SweepView& before, const SweepView& after);

}  // namespace entrain::cli::view
