// What a person has chosen in the full-screen view, and what a key does: pure, no terminal and no network.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/view/keys.h"
#include "cli/view/sweep_view.h"

namespace entrain::cli::view {

enum class Order { kSweep, kState, kStep, kLoss, kPerplexity, kEntropy };
std::string_view OrderText(Order order);

// What a key asks the program to do.
struct Command {
  enum class Kind { kNone, kLeave, kSuspend, kStop, kPause, kResume, kOpenLogs, kCloseLogs };
  Kind kind = Kind::kNone;
  std::string id;    // of a run or a sweep
  std::string name;  // for people
  friend bool operator==(const Command&, const Command&) = default;
};

struct ViewState {
  enum class Pane { kRuns, kLogs, kHelp };
  enum class Prompt { kNone, kFilter, kConfirm };
  Pane pane = Pane::kRuns;
  Prompt prompt = Prompt::kNone;
  std::string selected;  // a run's id; one that is not shown stands for the first that is
  Order order = Order::kSweep;
  bool reversed = false;
  std::string filter;         // in label or state, whatever the case
  std::string filter_before;  // what Escape brings back while it is typed
  Command asked;              // waits for y
  bool detail = true;
  std::int64_t log_lines_up = 0;  // 0: follows the newest line
  std::string message;            // what came of the last command
  // Leaving ends the sweep's processes (`entrain local`), so it is asked for first.
  bool leaving_ends_runs = false;
};

// Indices of the runs to show, in order.
std::vector<std::size_t> ShownRuns(const SweepView& sweep, const ViewState& state);
// Position in `shown` of the selected run; 0 when it is not there.
std::size_t SelectedPosition(const SweepView& sweep, const std::vector<std::size_t>& shown, const ViewState& state);
// Null when none is shown.
const RunView* SelectedRun(const SweepView& sweep, const ViewState& state);

// `page_rows`: how far a page key goes.
Command OnKey(const Key& key, const SweepView& sweep, int page_rows, ViewState* state);

}  // namespace entrain::cli::view
