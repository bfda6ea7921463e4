#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/strings.h"
#include "reports/number_text.h"
#include "reports/report.h"

namespace entrain::reports {
namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kNoteIndent = 4;
constexpr std::size_t kMaxNameWidth = 26;

using Cells = std::array<std::string, 8>;
const Cells kHeader = {"#", "variant", "n", "perplexity", "loss", "tok/s", "heads/lnT %", "heads/max %"};

std::string Padded(const std::string& text, std::size_t width, bool left) {
  const std::string fill(width - std::min(width, DisplayWidth(text)), ' ');
  return left ? text + fill : fill + text;
}

std::string BandsText(const Bands& bands) {
  const std::int64_t total = std::accumulate(std::begin(bands.quarter), std::end(bands.quarter), std::int64_t{0});
  if (total == 0) return "-";
  std::string text;
  for (std::int64_t count : bands.quarter) {
    const double percent = 100.0 * static_cast<double>(count) / static_cast<double>(total);
    StrAppend(&text, text.empty() ? "" : "/", FixedText(percent, 0));
  }
  return text;
}

std::string NameText(const LeaderboardRow& row) {
  return row.axes.empty() ? row.variant : StrCat(row.variant, " ", row.axes);
}

Cells CellsOf(const LeaderboardRow& row, std::size_t rank) {
  const std::string mark = row.completed || std::isnan(row.perplexity_mean) ? "" : "*";
  return {row.completed ? std::to_string(rank) : "-",
          CutText(NameText(row), kMaxNameWidth),
          StrCat(row.n, "/", row.runs),
          SpreadText(row.perplexity_mean, row.perplexity_spread) + mark,
          FixedText(row.loss_mean, 3),
          CountText(row.tokens_per_second_mean),
          BandsText(row.bands_log_context),
          BandsText(row.bands_observed)};
}

// Lines of at most kColumns, broken at spaces where possible.
std::string Wrapped(const std::string& text) {
  const std::string indent(kNoteIndent, ' ');
  std::string lines;
  std::string line = indent;
  const auto flush = [&] {
    StrAppend(&lines, line, "\n");
    line = indent;
  };
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t end = text.find_first_of(" \n\t\r", at);
    if (end == std::string::npos) end = text.size();
    std::string word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    word = CutText(word, kColumns - kNoteIndent);
    const std::size_t space = line.size() > kNoteIndent ? 1 : 0;
    if (DisplayWidth(line) + space + DisplayWidth(word) > kColumns) flush();
    if (line.size() > kNoteIndent) line += ' ';
    line += word;
  }
  if (line.size() > kNoteIndent) flush();
  return lines;
}

std::string StatesText(const LeaderboardRow& row) {
  std::string text;
  for (const auto& [state, count] : row.states) {
    StrAppend(&text, text.empty() ? "" : ", ", count > 1 ? StrCat(count, " ") : "", state);
  }
  return text;
}

bool AllSucceeded(const LeaderboardRow& row) { return row.states.size() == 1 && row.states.begin()->first == "succeeded"; }

std::string NoteText(const LeaderboardRow& row) {
  if (AllSucceeded(row)) return "";
  std::string text = StatesText(row);
  if (!row.completed && row.result_step_max > 0) StrAppend(&text, " at step ", row.result_step_max);
  if (!row.note.empty()) StrAppend(&text, ": ", row.note);
  return Wrapped(text);
}

std::string LineOf(const Cells& cells, const std::array<std::size_t, 8>& widths) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    StrAppend(&line, i == 0 ? "" : "  ", Padded(cells[i], widths[i], i == 1));
  }
  while (line.ends_with(' ')) line.pop_back();
  return line + "\n";
}

}  // namespace

std::string LeaderboardText(const std::vector<LeaderboardRow>& rows) {
  std::vector<Cells> table;
  std::array<std::size_t, 8> widths{};
  for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = DisplayWidth(kHeader[i]);
  std::size_t rank = 0;
  for (const LeaderboardRow& row : rows) {
    table.push_back(CellsOf(row, ++rank));
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(table.back()[i]));
  }
  std::string text = LineOf(kHeader, widths);
  bool partial = false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    StrAppend(&text, LineOf(table[i], widths), NoteText(rows[i]));
    partial |= !rows[i].completed && !std::isnan(rows[i].perplexity_mean);
  }
  if (partial) StrAppend(&text, "* no run of this variant trained to its end: the value is not comparable\n");
  return text;
}

}  // namespace entrain::reports
