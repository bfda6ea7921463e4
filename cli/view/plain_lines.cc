#include "cli/view/plain_lines.h"

#include <map>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/view/collapse_warning.h"

namespace entrain::cli::view {
namespace {

std::int64_t Tenth(const RunView& run) { return run.steps > 0 ? 10 * run.step / run.steps : 0; }

std::string ProgressText(const RunView& run) {
  std::string text = StrCat("step ", run.step, "/", run.steps);
  if (run.loss != 0.0) StrAppend(&text, "  loss ", FormatFixed(run.loss, 4));
  if (run.eval_loss != 0.0) StrAppend(&text, "  perplexity ", FormatPerplexity(run.eval_loss));
  if (run.tokens_per_second > 0.0 && !domain::IsFinal(run.state)) {
    StrAppend(&text, "  ", FormatCount(run.tokens_per_second), " tokens/s");
  }
  if (run.eta_ms >= 0 && run.state == domain::RunState::kRunning) StrAppend(&text, "  ETA ", FormatDuration(run.eta_ms));
  return text;
}

// Empty when nothing worth a line happened.
std::string ChangeOf(const RunView* before, const RunView& after) {
  const bool state_changed = before == nullptr || before->state != after.state || before->halt_reason != after.halt_reason;
  const std::string reason = ReasonText(after);
  if (state_changed) {
    std::string text = StateText(after);
    if (!reason.empty()) StrAppend(&text, "  ", reason);
    if (after.step > 0) StrAppend(&text, "  ", ProgressText(after));
    return text;
  }
  if (!domain::IsFinal(after.state) && reason != ReasonText(*before) && !reason.empty()) return reason;
  // Once a layer more, not at every step.
  if (CollapsingLayers(after).size() > CollapsingLayers(*before).size()) return StrCat("warning  collapsing  ", CollapseWarning(after));
  if (after.eval_loss != before->eval_loss || Tenth(after) != Tenth(*before)) return ProgressText(after);
  return "";
}

}  // namespace

std::vector<std::string> ChangeLines(const SweepView& before, const SweepView& after) {
  std::vector<std::string> lines;
  if (before.id != after.id && !after.id.empty()) {
    std::string line = StrCat("sweep ", after.name, " (", after.id, "): ", after.runs.size(), " runs");
    if (!after.addresses.empty()) StrAppend(&line, "  ", after.addresses);
    lines.push_back(Printable(line));
  }
  std::map<std::string, const RunView*> known;
  for (const RunView& run : before.runs) known[run.id] = &run;
  for (const RunView& run : after.runs) {
    const auto found = known.find(run.id);
    const std::string change = ChangeOf(found == known.end() ? nullptr : found->second, run);
    if (!change.empty()) lines.push_back(Printable(StrCat(run.label, ": ", change)));
  }
  if (after.note != before.note && !after.note.empty()) lines.push_back(Printable(after.note));
  return lines;
}

}  // namespace entrain::cli::view
