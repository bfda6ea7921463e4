#include "cli/view/run_rows.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/view/heat_strip.h"

namespace entrain::cli::view {
namespace {

using domain::RunState;

constexpr int kCurveWidth = 12;

std::string StepsText(const RunView& run) { return StrCat(run.step, "/", run.steps); }

void AppendCell(std::string* line, int width, bool right, std::string_view text) {
  if (width == 0) return;
  line->append(kColumnGap, ' ');
  *line += right ? PadLeft(text, width) : PadRight(text, width);
}

}  // namespace

Style StyleOf(const RunView& run) {
  switch (run.state) {
    case RunState::kRunning: return Style::kCyan;
    case RunState::kStarting: return Style::kBlue;
    case RunState::kSucceeded: return Style::kGreen;
    case RunState::kHalted:
    case RunState::kStopping: return Style::kYellow;
    case RunState::kFailed: return Style::kRed;
    default: return run.never_placeable ? Style::kRed : Style::kDim;
  }
}

std::string_view StateWord(const RunView& run) {
  switch (run.state) {
    case RunState::kSucceeded: return "done";
    case RunState::kHalted: return "stopped";
    case RunState::kCancelled: return "cancel";
    default: return run.never_placeable ? std::string_view("never") : domain::ToString(run.state);
  }
}

Columns FitColumns(const SweepView& sweep, int width, Colour colour, bool with_curve) {
  Columns columns;
  int longest_label = 5;
  int longest_steps = 5;
  int heat = 0;
  for (const RunView& run : sweep.runs) {
    longest_label = std::max(longest_label, DisplayWidth(run.label));
    longest_steps = std::max(longest_steps, DisplayWidth(StepsText(run)));
    heat = std::max(heat, HeatStripWidth(run.n_layer, run.n_head, colour, 36));
  }
  columns.label = std::min(longest_label, 32);
  columns.steps = longest_steps;
  columns.bar = 10;
  columns.eta = 6;
  columns.loss = 6;
  columns.perplexity = 7;
  columns.speed = 7;
  columns.heat = heat > 0 ? std::max(heat, 7) : 0;
  const auto narrow = [&] { return columns.Used() > width; };
  if (narrow()) columns.label = std::min(columns.label, 18);
  if (narrow()) columns.bar = 6;
  if (narrow() && columns.heat > 12) columns.heat = std::max(12, columns.heat - (columns.Used() - width));
  if (narrow()) columns.speed = 0;
  if (narrow()) columns.loss = 0;
  if (narrow()) columns.bar = 0;
  if (narrow()) columns.heat = 0;
  if (narrow()) columns.eta = 0;
  if (narrow()) columns.perplexity = 0;
  if (narrow()) columns.label = std::max(4, columns.label - (columns.Used() - width));
  if (narrow()) columns.steps = 0;
  if (with_curve && columns.Used() + kColumnGap + kCurveWidth <= width) columns.curve = kCurveWidth;
  if (columns.bar > 0) columns.bar = std::min(30, columns.bar + std::max(0, width - columns.Used()));
  return columns;
}

std::string TitleLine(const Columns& columns, Colour colour) {
  std::string line = StrCat(PadRight("STATE", columns.state), "  ", PadRight("RUN", columns.label));
  AppendCell(&line, columns.bar, false, "");
  AppendCell(&line, columns.steps, true, "STEP");
  AppendCell(&line, columns.eta, true, "ETA");
  AppendCell(&line, columns.loss, true, "LOSS");
  AppendCell(&line, columns.perplexity, true, "PPL");
  AppendCell(&line, columns.speed, true, "TOK/S");
  AppendCell(&line, columns.curve, false, "LOSS CURVE");
  AppendCell(&line, columns.heat, false, "ENTROPY");
  line.erase(line.find_last_not_of(' ') + 1);
  return Paint(colour, Style::kDim, line);
}

std::string RunLine(const RunView& run, const Columns& columns, Colour colour, const std::string& curve) {
  std::string line = Paint(colour, StyleOf(run), PadRight(StateWord(run), columns.state));
  line += StrCat("  ", PadRight(Printable(run.label), columns.label));
  const bool started = run.step > 0 || domain::IsFinal(run.state);
  if (columns.bar > 0) {
    const double share = run.steps > 0 ? static_cast<double>(run.step) / static_cast<double>(run.steps) : 0.0;
    line += StrCat("  ", Bar(share, columns.bar, colour, StyleOf(run)));
  }
  AppendCell(&line, columns.steps, true, StepsText(run));
  const bool live = run.state == RunState::kRunning;
  AppendCell(&line, columns.eta, true, live && run.eta_ms >= 0 ? FormatDuration(run.eta_ms) : "");
  AppendCell(&line, columns.loss, true, started && run.loss != 0.0 ? FormatFixed(run.loss, 3) : "");
  AppendCell(&line, columns.perplexity, true, run.eval_loss != 0.0 ? FormatPerplexity(run.eval_loss) : "");
  AppendCell(&line, columns.speed, true, live && run.tokens_per_second > 0 ? FormatCount(run.tokens_per_second) : "");
  if (columns.curve > 0) StrAppend(&line, "  ", curve, std::string(static_cast<std::size_t>(std::max(0, columns.curve - DisplayWidth(curve))), ' '));
  if (columns.heat > 0) {
    line += StrCat("  ", HeatStrip(run.entropy_fraction, run.n_layer, run.n_head, colour, columns.heat));
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

std::string CountsText(const std::vector<RunView>& runs) {
  std::map<RunState, int> counts;
  for (const RunView& run : runs) ++counts[run.state];
  std::string text;
  for (const auto& [state, count] : counts) StrAppend(&text, text.empty() ? "" : ", ", count, " ", domain::ToString(state));
  return text;
}

std::vector<std::string> HeaderLines(const SweepView& sweep, int width, Colour colour) {
  const double share = Progress(sweep);
  const std::string left = StrCat("sweep ", Printable(sweep.name), "  ");
  std::string right = StrCat("  ", static_cast<int>(std::floor(share * 100.0 + 1e-9)), "%");
  const std::int64_t remaining_ms = RemainingMs(sweep);
  if (!sweep.finished && remaining_ms >= 0) StrAppend(&right, "  ETA ", FormatDuration(remaining_ms));
  if (sweep.finished) right += "  finished";
  const int bar = std::clamp(width - DisplayWidth(left) - DisplayWidth(right), 0, 40);
  std::vector<std::string> lines;
  if (bar >= 4) {
    lines.push_back(StrCat(Paint(colour, Style::kBold, left), Bar(share, bar, colour, Style::kGreen), right));
  } else {
    lines.push_back(Paint(colour, Style::kBold, Truncated(left + right, width)));
  }
  std::string fleet = CountsText(sweep.runs);
  if (!sweep.finished) StrAppend(&fleet, "   slots ", sweep.slots_used, "/", sweep.slots);
  if (!sweep.finished && sweep.workers != 1) StrAppend(&fleet, " on ", sweep.workers, " workers");
  if (!sweep.addresses.empty()) StrAppend(&fleet, "   ", sweep.addresses);
  lines.push_back(Paint(colour, Style::kDim, Truncated(fleet, width)));
  if (!sweep.note.empty()) lines.push_back(Paint(colour, Style::kYellow, Truncated(Printable(sweep.note), width)));
  return lines;
}

std::string Bar(double share, int width, Colour colour, Style style) {
  static constexpr std::string_view kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::clamp(share, 0.0, 1.0) * width * 8.0);
  if (colour == Colour::kNone) {
    const auto full = static_cast<std::size_t>(eighths / 8);
    return std::string(full, '#') + std::string(static_cast<std::size_t>(width) - full, '.');
  }
  std::string full;
  for (int i = 0; i < eighths / 8; ++i) full += "█";
  full += kParts[eighths % 8];
  std::string rest;
  for (int i = DisplayWidth(full); i < width; ++i) rest += "░";
  return Paint(colour, style, full) + Paint(colour, Style::kDim, rest);
}

}  // namespace entrain::cli::view
