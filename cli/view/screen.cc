#include "cli/view/screen.h"

#include <algorithm>
#include <string_view>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/view/collapse_warning.h"
#include "cli/view/heat_map.h"
#include "cli/view/run_rows.h"
#include "cli/view/sparkline.h"

namespace entrain::cli::view {
namespace {

constexpr int kMarkerWidth = 2;
constexpr int kMinScreenWidth = 20;
constexpr int kMinDetailHeight = 18;  // of the whole screen
constexpr int kMaxWarnings = 3;
constexpr int kListWidth = 50;  // what is said of the list, beside its titles
constexpr std::string_view kRunsKeys = "s stop  p pause  l logs  o sort  r reverse  / filter  d detail  ? help  q leave";
constexpr std::string_view kLogKeys = "up/down PgUp/PgDn scroll  End newest  Esc back to the runs";

// Heights of the parts of one screen, from the top.
struct Layout {
  int rows = 0;  // of the table, without its titles
  int warnings = 0;
  int detail = 0;
};

int HeaderHeight(const SweepView& sweep) { return sweep.note.empty() ? 2 : 3; }

std::vector<std::string> WarningTexts(const SweepView& sweep) {
  std::vector<std::string> texts;
  for (const RunView& run : sweep.runs) {
    if (const std::string warning = CollapseWarning(run); !warning.empty()) texts.push_back(StrCat("collapsing  ", run.label, ": ", warning));
  }
  return texts;
}

int DetailHeight(const RunView* run, const ViewState& state, int height) {
  if (!state.detail || run == nullptr || height < kMinDetailHeight) return 0;
  // A rule, then the map under its own title; the facts beside it need seven lines.
  const int wanted = 2 + std::max(6, static_cast<int>(run->n_layer));
  return std::min(wanted, height * 45 / 100);
}

Layout MakeLayout(const SweepView& sweep, const RunView* selected, const ViewState& state, int height) {
  Layout layout;
  const int below_header = height - HeaderHeight(sweep) - 2;  // titles and keys
  layout.warnings = std::clamp(static_cast<int>(WarningTexts(sweep).size()), 0, std::min(kMaxWarnings, std::max(0, below_header / 4)));
  layout.detail = DetailHeight(selected, state, height);
  layout.rows = below_header - layout.warnings - layout.detail;
  return layout;
}

std::string KeysLine(const ViewState& state, int width, Colour colour) {
  if (state.prompt == ViewState::Prompt::kFilter) return Truncated(StrCat("filter: ", state.filter, "_   Enter keeps it, Esc drops it"), width);
  if (state.prompt == ViewState::Prompt::kConfirm) {
    const std::string_view verb = state.asked.kind == Command::Kind::kStop ? "stop " : "";
    return Paint(colour, Style::kYellow, Truncated(StrCat(verb, Printable(state.asked.name), "? y/n"), width));
  }
  if (!state.message.empty()) return Paint(colour, Style::kYellow, Truncated(Printable(state.message), width));
  const std::string_view keys = state.pane == ViewState::Pane::kLogs   ? kLogKeys
                                : state.pane == ViewState::Pane::kHelp ? std::string_view("any key: back to the runs")
                                                                       : kRunsKeys;
  return Paint(colour, Style::kDim, Truncated(keys, width));
}

// "runs 1-20 of 100, by loss, filter: SM"; empty when there is nothing to say.
std::string ListText(const SweepView& sweep, const ViewState& state, std::size_t shown, std::size_t first, std::size_t visible) {
  std::string text;
  if (visible < shown) text = StrCat("runs ", first + 1, "-", first + visible, " of ", shown);
  if (shown < sweep.runs.size()) StrAppend(&text, text.empty() ? "" : ", ", sweep.runs.size() - shown, " filtered out");
  if (state.order != Order::kSweep) StrAppend(&text, text.empty() ? "" : ", ", OrderText(state.order));
  if (state.reversed) StrAppend(&text, text.empty() ? "" : ", ", "reversed");
  if (!state.filter.empty()) StrAppend(&text, text.empty() ? "" : ", ", "filter: ", state.filter);
  return text;
}

std::vector<std::string> TableLines(const SweepView& sweep, const ViewState& state, const LossHistory& history, int rows, int width,
                                    Colour colour) {
  const std::vector<std::size_t> shown = ShownRuns(sweep, state);
  const std::size_t selected = SelectedPosition(sweep, shown, state);
  const Columns columns = FitColumns(sweep, width - kMarkerWidth, colour, true);
  std::string title = StrCat("  ", TitleLine(columns, colour));
  const int space = width - DisplayWidth(title);
  const bool plain_list = state.order == Order::kSweep && !state.reversed && state.filter.empty() && static_cast<int>(shown.size()) <= rows;
  // Beside the titles where there is room.
  const bool own_line = !plain_list && space < kListWidth && rows > 1;
  const auto room = static_cast<std::size_t>(std::max(1, own_line ? rows - 1 : rows));
  // The selected run stays in sight, near the middle of a long list.
  const std::size_t last_first = shown.size() > room ? shown.size() - room : 0;
  const std::size_t first = std::min(selected > room / 2 ? selected - room / 2 : 0, last_first);
  const std::size_t visible = std::min(room, shown.size() - first);
  const std::string list = Printable(ListText(sweep, state, shown.size(), first, visible));
  std::vector<std::string> lines;
  if (own_line) lines.push_back(Paint(colour, Style::kDim, Truncated(StrCat("  ", list), width)));
  else if (space > 2) title += Paint(colour, Style::kDim, PadLeft(list, space));
  lines.push_back(title);
  for (std::size_t i = first; i < first + visible; ++i) {
    const RunView& run = sweep.runs[shown[i]];
    const std::string curve = columns.curve > 0 ? Sparkline(history.Curve(run.id, columns.curve), colour) : "";
    const std::string marker = i == selected ? Paint(colour, Style::kBold, "> ") : "  ";
    lines.push_back(marker + RunLine(run, columns, colour, curve));
  }
  if (shown.empty()) lines.push_back(Truncated("  no run matches the filter; Esc drops it", width));
  return lines;
}

std::vector<std::string> WarningLines(const SweepView& sweep, int room, int width, Colour colour) {
  std::vector<std::string> texts = WarningTexts(sweep);
  std::vector<std::string> lines;
  for (int i = 0; i < room; ++i) {
    std::string text = texts[static_cast<std::size_t>(i)];
    const auto more = static_cast<int>(texts.size()) - room;
    if (i + 1 == room && more > 0) text = StrCat(text, "  (and ", more, " more)");
    lines.push_back(Paint(colour, Style::kRed, Truncated(StrCat("! ", Printable(text)), width)));
  }
  return lines;
}

// What the map does not say, a line each.
std::vector<std::string> FactLines(const RunView& run, const LossHistory& history, int width, int room, Colour colour) {
  std::vector<std::string> lines;
  std::string progress = StrCat("step ", run.step, " of ", run.steps);
  if (run.state == domain::RunState::kRunning && run.eta_ms >= 0) StrAppend(&progress, "  ETA ", FormatDuration(run.eta_ms));
  if (run.tokens_per_second > 0) StrAppend(&progress, "  ", FormatCount(run.tokens_per_second), " tokens/s");
  if (run.attempt > 1) StrAppend(&progress, "  attempt ", run.attempt);
  lines.push_back(Truncated(progress, width));
  if (run.loss != 0.0) {
    std::string loss = StrCat("loss ", FormatFixed(run.loss, 4));
    if (run.eval_loss != 0.0) StrAppend(&loss, "  perplexity ", FormatPerplexity(run.eval_loss));
    lines.push_back(Truncated(loss, width));
    lines.push_back(Sparkline(history.Curve(run.id, std::min(width, 60)), colour));
  }
  if (const std::string lowest = LowestLayerText(run); !lowest.empty()) lines.push_back(Truncated(lowest, width));
  if (const std::string warning = CollapseWarning(run); !warning.empty()) {
    lines.push_back(Paint(colour, Style::kRed, Truncated(StrCat("! ", warning), width)));
  }
  const int left = room - static_cast<int>(lines.size());
  for (const std::string& part : Wrapped(Printable(ReasonText(run)), width, std::max(1, left))) {
    lines.push_back(Paint(colour, StyleOf(run), part));
  }
  if (static_cast<int>(lines.size()) > room) lines.resize(static_cast<std::size_t>(room));
  return lines;
}

std::vector<std::string> DetailLines(const RunView& run, const LossHistory& history, int height, int width, Colour colour) {
  const std::string name = StrCat("-- ", Printable(run.label), "  ", run.id, "  ", StateText(run), " ");
  std::string rule = Truncated(name, width);
  rule.append(static_cast<std::size_t>(std::max(0, width - DisplayWidth(rule))), '-');
  std::vector<std::string> lines = {Paint(colour, Style::kBold, rule)};
  const int room = height - 1;
  const std::vector<std::string> map = HeatMap(run.entropy_fraction, run.n_layer, run.n_head, colour, width / 2, room - 1);
  std::vector<std::string> left;
  if (!map.empty()) {
    left.push_back(Truncated("layer x head, share of U", width / 2));
    left.insert(left.end(), map.begin(), map.end());
  }
  int left_width = 0;
  for (const std::string& line : left) left_width = std::max(left_width, DisplayWidth(line));
  const int fact_column = left.empty() ? 0 : left_width + 3;
  const std::vector<std::string> facts = FactLines(run, history, width - fact_column, room, colour);
  for (int i = 0; i < room; ++i) {
    const auto at = static_cast<std::size_t>(i);
    std::string line = at < left.size() ? left[at] : "";
    if (at < facts.size()) line += std::string(static_cast<std::size_t>(fact_column - DisplayWidth(line)), ' ') + facts[at];
    lines.push_back(line);
  }
  return lines;
}

std::vector<std::string> LogPane(const LogView& log, const ViewState& state, int room, int width, Colour colour) {
  const auto rows = static_cast<std::size_t>(std::max(1, room - 1));
  const std::size_t most_up = log.lines.size() > rows ? log.lines.size() - rows : 0;
  const std::size_t up = std::min(static_cast<std::size_t>(state.log_lines_up), most_up);
  const std::size_t end = log.lines.size() - up;
  const std::size_t begin = end > rows ? end - rows : 0;
  std::string title = StrCat("-- logs of ", Printable(log.name), up == 0 ? ", following" : StrCat(", ", up, " lines back"));
  if (!log.note.empty()) StrAppend(&title, "; ", Printable(log.note));
  std::vector<std::string> lines = {Paint(colour, Style::kBold, Truncated(title, width))};
  for (std::size_t i = begin; i < end; ++i) lines.push_back(Truncated(Printable(log.lines[i]), width));
  if (log.lines.empty()) lines.push_back("no line yet");
  return lines;
}

std::vector<std::string> HelpPane(int width) {
  static constexpr std::string_view kHelp[] = {
      "up, down, k, j     choose a run          PgUp, PgDn, Home, End, g, G   far",
      "s                  stop the run          S   stop every run of the sweep (both ask first)",
      "p                  pause or resume it    P   the whole sweep",
      "l, Enter           follow its logs       Esc back",
      "o                  next order: state, step, loss, perplexity, lowest entropy",
      "r                  reverse the order",
      "/                  show only runs whose label or state holds a text; Esc drops it",
      "d                  heat map and facts of the chosen run, on or off",
      "q, Ctrl-C          leave; `entrain watch` leaves the sweep alone",
      "",
      "Heat: share of U = ln(T!)/T, the most that a causal head can reach. Dark blue is low, yellow is 1, red is below",
      "0.05 U: the head looks at one token only. Without colour: the ramp \" .:-=+*#%@\" by tenths, ! below 0.05 U.",
  };
  std::vector<std::string> lines;
  for (const std::string_view line : kHelp) lines.push_back(Truncated(line, width));
  return lines;
}

void Append(std::vector<std::string>* lines, const std::vector<std::string>& more) { lines->insert(lines->end(), more.begin(), more.end()); }

}  // namespace

int PageRows(const SweepView& sweep, const ViewState& state, int height) {
  if (state.pane == ViewState::Pane::kLogs) return std::max(1, height - HeaderHeight(sweep) - 3);
  return std::max(1, MakeLayout(sweep, SelectedRun(sweep, state), state, height).rows - 1);
}

std::vector<std::string> RenderScreen(const SweepView& sweep, const ViewState& state, const LossHistory& history, const LogView& log,
                                      int width, int height, Colour colour) {
  width = std::max(width, kMinScreenWidth);
  height = std::max(height, 1);
  std::vector<std::string> lines = HeaderLines(sweep, width, colour);
  const RunView* selected = SelectedRun(sweep, state);
  if (state.pane == ViewState::Pane::kLogs) {
    Append(&lines, LogPane(log, state, height - static_cast<int>(lines.size()) - 1, width, colour));
  } else if (state.pane == ViewState::Pane::kHelp) {
    Append(&lines, HelpPane(width));
  } else {
    const Layout layout = MakeLayout(sweep, selected, state, height);
    Append(&lines, TableLines(sweep, state, history, layout.rows, width, colour));
    lines.resize(static_cast<std::size_t>(std::max(0, height - 1 - layout.warnings - layout.detail)));
    Append(&lines, WarningLines(sweep, layout.warnings, width, colour));
    if (layout.detail > 0) Append(&lines, DetailLines(*selected, history, layout.detail, width, colour));
  }
  lines.resize(static_cast<std::size_t>(height - 1));
  lines.push_back(KeysLine(state, width, colour));
  return lines;
}

}  // namespace entrain::cli::view
