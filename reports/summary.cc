#include <cmath>

#include "base/strings.h"
#include "reports/number_text.h"
#include "reports/report.h"
#include "reports/run_result.h"

namespace entrain::reports {
namespace {

// Single sentences about runs before the rest is counted only.
constexpr std::size_t kMaxSentences = 6;

std::string NameOf(const LeaderboardRow& row) { return row.axes.empty() ? row.variant : StrCat(row.variant, " ", row.axes); }

std::string Plural(std::int64_t n, std::string_view noun) { return StrCat(n, " ", noun, n == 1 ? "" : "s"); }

void AppendWinner(const std::vector<LeaderboardRow>& rows, std::vector<std::string>* lines) {
  if (rows.empty() || !rows[0].completed || std::isnan(rows[0].perplexity_mean)) {
    lines->push_back("No run has trained to its end with an evaluation yet, so there is no best variant.");
    return;
  }
  std::string line = StrCat("Best: ", NameOf(rows[0]), " with perplexity ",
                            SpreadText(rows[0].perplexity_mean, rows[0].perplexity_spread), " over ",
                            Plural(rows[0].n, "run"));
  if (rows.size() > 1 && rows[1].completed && !std::isnan(rows[1].perplexity_mean)) {
    StrAppend(&line, ", before ", NameOf(rows[1]), " with ", SpreadText(rows[1].perplexity_mean, rows[1].perplexity_spread));
  }
  lines->push_back(line + ".");
}

std::string Sentence(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

std::string EndSentence(const RunData& run) {
  std::string line = StrCat(run.label, " ", OutcomeText(run));
  if (WasStopped(run)) StrAppend(&line, ", at step ", ResultOf(run).step, " of ", run.steps);
  const std::string reason = ReasonText(run);
  if (!reason.empty()) StrAppend(&line, ". ", Sentence(reason));
  return line.ends_with(".") ? line : line + ".";
}

void AppendEnds(const SweepData& sweep, std::vector<std::string>* lines) {
  std::size_t sentences = 0;
  for (const RunData& run : sweep.runs) {
    if (!WasStopped(run) && run.state != domain::RunState::kFailed) continue;
    if (++sentences <= kMaxSentences) lines->push_back(EndSentence(run));
  }
  if (sentences > kMaxSentences) lines->push_back(StrCat("And ", sentences - kMaxSentences, " more that were stopped or failed."));
}

double TokensPerStep(const RunData& run) {
  if (run.samples.empty() || run.samples.back().step <= 0) return 0.0;
  return static_cast<double>(run.samples.back().tokens) / static_cast<double>(run.samples.back().step);
}

void AppendSaved(const SweepData& sweep, std::vector<std::string>* lines) {
  std::int64_t planned = 0;
  std::int64_t saved = 0;
  double saved_tokens = 0.0;
  for (const RunData& run : sweep.runs) {
    planned += run.steps;
    if (!WasStopped(run)) continue;
    const std::int64_t steps = std::max<std::int64_t>(run.steps - ResultOf(run).step, 0);
    saved += steps;
    saved_tokens += TokensPerStep(run) * static_cast<double>(steps);
  }
  if (saved == 0) return;
  const double percent = 100.0 * static_cast<double>(saved) / static_cast<double>(planned);
  std::string line = StrCat("Stopping saved ", saved, " of the sweep's ", planned, " steps (", FixedText(percent, 0), " %)");
  if (saved_tokens >= 1.0) StrAppend(&line, ", ", static_cast<std::int64_t>(saved_tokens + 0.5), " tokens");
  lines->push_back(line + ".");
}

void AppendUnfinished(const SweepData& sweep, std::vector<std::string>* lines) {
  std::int64_t unfinished = 0;
  for (const RunData& run : sweep.runs) unfinished += !domain::IsFinal(run.state);
  if (unfinished > 0) lines->push_back(StrCat(Plural(unfinished, "run"), " not finished: this is the state so far."));
}

}  // namespace

std::vector<std::string> SummaryLines(const SweepData& sweep) {
  std::vector<std::string> lines;
  AppendWinner(MakeLeaderboard(sweep), &lines);
  AppendEnds(sweep, &lines);
  AppendSaved(sweep, &lines);
  AppendUnfinished(sweep, &lines);
  return lines;
}

}  // namespace entrain::reports
