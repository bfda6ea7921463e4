#include "cli/view/live_view.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/view/run_rows.h"

namespace entrain::cli::view {
namespace {

using domain::RunState;

constexpr int kMinWidth = 20;

// A run's lines: its row, and why it waits or ended, if there is a why. What many queued runs wait for is told once.
std::vector<std::string> RunLines(const RunView& run, const Columns& columns, int width, Colour colour, std::set<std::string>* told) {
  std::vector<std::string> lines = {RunLine(run, columns, colour)};
  const std::string reason = Printable(ReasonText(run));
  if (reason.empty() || (run.state == RunState::kQueued && !told->insert(reason).second)) return lines;
  const int indent = std::min(columns.state + kColumnGap, width / 4);
  const Style style = run.state == RunState::kQueued && !run.never_placeable ? Style::kDim : StyleOf(run);
  const int max_lines = domain::IsFinal(run.state) ? 3 : 1;
  for (const std::string& part : Wrapped(reason, width - indent, max_lines)) {
    lines.push_back(std::string(static_cast<std::size_t>(indent), ' ') + Paint(colour, style, part));
  }
  return lines;
}

// Who goes first when the terminal is too low for all.
int Urgency(const RunView& run) {
  switch (run.state) {
    case RunState::kRunning:
    case RunState::kStarting:
    case RunState::kStopping: return 0;
    case RunState::kHalted:
    case RunState::kFailed: return 1;
    case RunState::kPaused: return 2;
    case RunState::kSucceeded: return 3;
    default: return run.never_placeable ? 1 : 4;
  }
}

// Indices of the runs that fit into `room` lines, in the sweep's order; the rest is returned in `left_out`.
std::vector<std::size_t> ChooseRuns(const std::vector<RunView>& runs, const std::vector<std::vector<std::string>>& lines,
                                    int room, std::vector<RunView>* left_out) {
  std::vector<std::size_t> order(runs.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto total = [&](const std::vector<std::size_t>& chosen) {
    std::size_t sum = 0;
    for (const std::size_t index : chosen) sum += lines[index].size();
    return static_cast<int>(sum);
  };
  if (total(order) <= room) return order;
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return Urgency(runs[a]) < Urgency(runs[b]); });
  std::vector<std::size_t> chosen;
  int used = 0;
  for (const std::size_t index : order) {
    const int needed = static_cast<int>(lines[index].size());
    if (used + needed <= room - 1) {
      used += needed;
      chosen.push_back(index);
    } else {
      left_out->push_back(runs[index]);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

std::vector<std::string> RenderLive(const SweepView& sweep, int width, int height, Colour colour) {
  width = std::max(width, kMinWidth);
  std::vector<std::string> lines = HeaderLines(sweep, width, colour);
  const Columns columns = FitColumns(sweep, width, colour);
  lines.push_back(TitleLine(columns, colour));
  std::vector<std::vector<std::string>> run_lines;
  std::set<std::string> told;
  for (const RunView& run : sweep.runs) run_lines.push_back(RunLines(run, columns, width, colour, &told));
  std::vector<RunView> left_out;
  const int room = std::max(1, height - static_cast<int>(lines.size()));
  for (const std::size_t index : ChooseRuns(sweep.runs, run_lines, room, &left_out)) {
    lines.insert(lines.end(), run_lines[index].begin(), run_lines[index].end());
  }
  if (!left_out.empty()) {
    const std::string rest = StrCat("and ", left_out.size(), " more: ", CountsText(left_out));
    lines.push_back(Paint(colour, Style::kDim, Truncated(rest, width)));
  }
  if (static_cast<int>(lines.size()) > height) lines.resize(static_cast<std::size_t>(std::max(height, 1)));
  return lines;
}

}  // namespace entrain::cli::view
