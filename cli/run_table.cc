#include "cli/run_table.h"

#include "base/strings.h"
#include "cli/format.h"
#include "cli/table.h"

namespace entrain::cli {

Style StyleOfState(const std::string& state) {
  if (state == "succeeded") return Style::kGreen;
  if (state == "running") return Style::kCyan;
  if (state == "failed") return Style::kRed;
  if (state == "halted" || state == "stopping") return Style::kYellow;
  return Style::kPlain;
}

std::string StateText(const v1::RunSummary& run) {
  if (run.state() == "halted" && !run.halt_reason().empty()) {
    return StrCat("halted (", run.halt_reason(), run.rescued_by().empty() ? "" : ", rescued", ")");
  }
  if (run.state() == "failed" && !run.failure_class().empty()) return StrCat("failed (", run.failure_class(), ")");
  return run.state();
}

std::string CountsText(const v1::SweepSummary& sweep) {
  std::string text;
  for (const char* state : {"queued", "starting", "running", "paused", "stopping", "succeeded", "halted", "pruned", "failed",
                            "cancelled"}) {
    const auto found = sweep.runs_by_state().find(state);
    if (found == sweep.runs_by_state().end() || found->second == 0) continue;
    StrAppend(&text, text.empty() ? "" : ", ", found->second, " ", state);
  }
  return text;
}

std::string RunTable(const v1::Sweep& sweep, Colour colour) {
  Table table({{"RUN"}, {"LABEL"}, {"STATE"}, {"STEP", Align::kRight}, {"LOSS", Align::kRight}, {"PERPLEXITY", Align::kRight},
               {"TOKENS/S", Align::kRight}, {"REASON"}});
  for (const v1::RunSummary& run : sweep.runs()) {
    table.Add({run.id(), run.label(), StateText(run), StrCat(run.step(), "/", run.steps()),
               run.loss() == 0.0 ? "-" : FormatFixed(run.loss(), 4), FormatPerplexity(run.eval_loss()),
               run.tokens_per_second() > 0.0 ? FormatCount(run.tokens_per_second()) : "-", run.reason()},
              2, StyleOfState(run.state()));
  }
  return table.Text(colour);
}

}  // namespace entrain::cli
