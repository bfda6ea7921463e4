#include "cli/run_text.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "cli/format.h"
#include "cli/run_table.h"
#include "cli/table.h"
#include "cli/view/heat_strip.h"

namespace entrain::cli {
namespace {

constexpr int kHistoryShown = 20;

void AppendField(std::string* text, std::string_view name, const std::string& value) {
  if (!value.empty()) StrAppend(text, PadRight(StrCat(name, ":"), 14), Printable(value), "\n");
}

void AppendTitle(std::string* text, Colour colour, std::string_view title) {
  StrAppend(text, "\n", Paint(colour, Style::kBold, title), "\n");
}

std::string AxesText(const v1::RunSummary& run) {
  const std::map<std::string, std::string> axes(run.axes().begin(), run.axes().end());
  std::string text;
  for (const auto& [axis, value] : axes) StrAppend(&text, text.empty() ? "" : " ", axis, "=", value);
  return text;
}

std::string ResultText(const v1::RunSummary& run) {
  std::string text;
  if (run.loss() != 0.0) text = StrCat("loss ", FormatFixed(run.loss(), 4));
  if (run.eval_loss() != 0.0) {
    StrAppend(&text, text.empty() ? "" : ", ", "held-out loss ", FormatFixed(run.eval_loss(), 4), " (perplexity ",
              FormatPerplexity(run.eval_loss()), ")");
  }
  if (run.tokens_per_second() > 0.0) StrAppend(&text, ", ", FormatCount(run.tokens_per_second()), " tokens/s");
  return text;
}

std::string TimesText(const v1::RunSummary& run) {
  std::string text = StrCat("created ", FormatUtc(run.created_wall_ms()));
  if (run.started_wall_ms() > 0) StrAppend(&text, ", started ", FormatUtc(run.started_wall_ms()));
  if (run.finished_wall_ms() > 0) StrAppend(&text, ", ended ", FormatUtc(run.finished_wall_ms()));
  return text + " UTC";
}

std::string HeatText(const v1::RunSummary& run, Colour colour) {
  const std::vector<float> fraction(run.entropy_fraction().begin(), run.entropy_fraction().end());
  std::string text;
  for (int layer = 0; layer < run.n_layer() && fraction.size() == static_cast<std::size_t>(run.n_layer() * run.n_head()); ++layer) {
    const auto begin = fraction.begin() + static_cast<std::ptrdiff_t>(layer) * run.n_head();
    const std::vector<float> heads(begin, begin + run.n_head());
    StrAppend(&text, "  layer ", PadLeft(StrCat(layer), 2), "  ", view::HeatStrip(heads, 1, run.n_head(), colour, 40), "  ");
    for (int head = 0; head < run.n_head() && head < 16; ++head) {
      StrAppend(&text, " ", FormatFixed(heads[static_cast<std::size_t>(head)], 3));
    }
    text += "\n";
  }
  return text;
}

std::string VerdictText(const v1::Verdict& verdict, int n_head) {
  std::string text = StrCat("  ", Printable(verdict.explanation()), "\n");
  const std::string action = verdict.action().empty() ? "" : StrCat(", action ", Printable(verdict.action()));
  StrAppend(&text, "  rule ", Printable(verdict.rule()), action, ", judged at step ", verdict.step(), " of attempt ", verdict.attempt(), "\n");
  if (verdict.heads_size() > 0) StrAppend(&text, "  ", HeadsText(verdict.heads(), n_head), "\n");
  for (int i = 0; i < std::min(verdict.steps_size(), verdict.values_size()); ++i) {
    StrAppend(&text, "  step ", verdict.steps(i), ": ", FormatFixed(verdict.values(i), 4), " (limit ",
              FormatFixed(verdict.limit(), 4), ")\n");
  }
  return text;
}

// What it reported at the rungs of early stopping.
std::string RungsText(const v1::RunDetail& run, Colour colour) {
  Table table({{"RUNG", Align::kRight}, {"STEP", Align::kRight}, {"VALUE", Align::kRight}, {"OUTCOME"}, {"WHY"}});
  for (int i = 0; i < run.rungs_size(); ++i) {
    const v1::Rung& rung = run.rungs(i);
    table.Add({StrCat(i), StrCat(rung.step()), StrCat(rung.metric(), " ", FormatFixed(rung.value(), 4)), rung.outcome(), rung.reason()});
  }
  return table.empty() ? "" : table.Text(colour);
}

// Where the run comes from and where it went on; empty for most.
std::string LineageText(const v1::RunSummary& run) {
  if (!run.rescued_by().empty()) return StrCat("rescued: ", run.rescued_by(), " goes on from it with other settings");
  if (run.rescue_of().empty()) return "";
  return StrCat("rescue of ", run.rescue_of(), ", from ", run.fork_step() == 0 ? std::string("the start") : StrCat("its checkpoint of step ", run.fork_step()));
}

std::string NoticesText(const v1::RunDetail& detail) {
  std::string text;
  for (const v1::Verdict& notice : detail.notices()) text += VerdictText(notice, detail.summary().n_head());
  return text;
}

std::string AttemptsText(const v1::RunDetail& run, Colour colour) {
  Table table({{"ATTEMPT", Align::kRight}, {"WORKERS"}, {"FROM STEP", Align::kRight}, {"LAST STEP", Align::kRight}, {"ENDED"}, {"MESSAGE"}});
  for (const v1::AttemptInfo& attempt : run.attempts()) {
    std::string workers;
    for (const std::string& worker : attempt.workers()) StrAppend(&workers, workers.empty() ? "" : ",", worker);
    table.Add({StrCat(attempt.attempt()), workers, StrCat(attempt.resume_step()), StrCat(attempt.last_step()),
               attempt.cause().empty() ? "live" : attempt.cause(), attempt.message()});
  }
  return table.empty() ? "" : table.Text(colour);
}

// What retention deleted of the run; empty for most.
std::string RetiredText(const v1::RunDetail& run) {
  std::string text;
  for (int i = 0; i < run.retired_size();) {
    const v1::RetiredCheckpoint& first = run.retired(i);
    // What went at one time for one reason is one line.
    int end = i + 1;
    while (end < run.retired_size() && run.retired(end).wall_ms() == first.wall_ms() && run.retired(end).reason() == first.reason()) ++end;
    const v1::RetiredCheckpoint& last = run.retired(end - 1);
    const std::string which = end - i == 1 ? StrCat("checkpoint of step ", first.checkpoint().step())
                                           : StrCat(end - i, " checkpoints of steps ", first.checkpoint().step(), " to ", last.checkpoint().step());
    StrAppend(&text, "  ", which, ": deleted by retention on ", FormatUtc(first.wall_ms()), " UTC, ", Printable(first.reason()), "\n");
    i = end;
  }
  if (run.samples_thinned_every() > 0) {
    StrAppend(&text, "  samples: thinned by retention on ", FormatUtc(run.samples_thinned_wall_ms()), " UTC, one of ", run.samples_thinned_every(), " is left\n");
  }
  return text;
}

std::string HistoryText(const v1::RunDetail& run) {
  std::string text;
  const int first = std::max(0, run.history_size() - kHistoryShown);
  if (first > 0) StrAppend(&text, "  (", first, " earlier entries: -o json)\n");
  for (int i = first; i < run.history_size(); ++i) {
    const v1::HistoryEntry& entry = run.history(i);
    StrAppend(&text, "  ", FormatUtc(entry.wall_ms()), "  ", Printable(entry.what()));
    if (!entry.reason().empty()) StrAppend(&text, ": ", Printable(entry.reason()));
    text += "\n";
  }
  return text;
}

// The one sentence of `explain`.
std::string Sentence(const v1::RunDetail& detail) {
  const v1::RunSummary& run = detail.summary();
  const std::string& state = run.state();
  const std::string because = run.reason().empty() ? "" : StrCat(": ", Printable(run.reason()));
  if (state == "queued" && run.never_placeable()) return StrCat("can never start on the workers known now", because);
  if (state == "queued") return StrCat("waits", because);
  if (state == "starting") return StrCat("starts its attempt ", run.attempt(), because);
  if (state == "running") {
    return StrCat("trains at step ", run.step(), " of ", run.steps(), " (attempt ", run.attempt(), ")", because);
  }
  if (state == "paused") return StrCat("is paused at step ", run.step(), because);
  if (state == "stopping") return StrCat("is being stopped", because);
  if (state == "succeeded") return StrCat("trained all ", run.steps(), " steps", because);
  if (state == "halted") return StrCat("was stopped by a health rule (", run.halt_reason(), ") at step ", run.result_step(), because);
  if (state == "pruned") return StrCat("was stopped early, others did better", because);
  if (state == "failed") return StrCat("failed", run.failure_class().empty() ? "" : StrCat(" (", run.failure_class(), ")"), because);
  if (state == "cancelled") return StrCat("was cancelled", because);
  return StrCat(state, because);
}

}  // namespace

std::string HeadsText(const google::protobuf::RepeatedField<std::int32_t>& heads, int n_head) {
  std::map<int, std::vector<std::int64_t>> by_layer;
  for (const std::int32_t index : heads) by_layer[index / std::max(1, n_head)].push_back(index % std::max(1, n_head));
  std::string text;
  for (auto& [layer, numbers] : by_layer) {
    std::sort(numbers.begin(), numbers.end());
    StrAppend(&text, text.empty() ? "" : "; ", "layer ", layer, ": ", numbers.size() == 1 ? "head " : "heads ", FormatRanges(numbers));
  }
  return text;
}

std::string DescribeRun(const v1::RunDetail& detail, Colour colour) {
  const v1::RunSummary& run = detail.summary();
  std::string text;
  AppendField(&text, "Run", run.id());
  AppendField(&text, "Label", run.label());
  AppendField(&text, "Sweep", run.sweep_id());
  AppendField(&text, "Variant", run.variant());
  AppendField(&text, "Axes", AxesText(run));
  AppendField(&text, "State", StateText(run));
  AppendField(&text, "Reason", run.reason());
  AppendField(&text, "Progress", StrCat("step ", run.step(), " of ", run.steps(), ", ", FormatCount(static_cast<double>(run.tokens())), " tokens"));
  AppendField(&text, "Result", ResultText(run));
  AppendField(&text, "Model", StrCat(run.n_layer(), " layers x ", run.n_head(), " heads, context ", run.context(), ", ",
                                     FormatCount(static_cast<double>(run.parameters())), " parameters"));
  AppendField(&text, "Gang", StrCat(run.world_size(), run.world_size() == 1 ? " rank" : " ranks"));
  AppendField(&text, "Generation", StrCat(run.generation(), ", attempt ", run.attempt(), ", ", run.failures(), " failures"));
  if (!run.failure_class().empty()) AppendField(&text, "Failure", StrCat(run.failure_class(), ": ", detail.failure_rule()));
  AppendField(&text, "Owner", StrCat(detail.owner(), ", priority ", detail.priority()));
  AppendField(&text, "Lineage", LineageText(run));
  AppendField(&text, "Times", TimesText(run));
  if (!detail.verdict().reason().empty()) {
    AppendTitle(&text, colour, "Verdict");
    text += VerdictText(detail.verdict(), run.n_head());
  }
  if (detail.notices_size() > 0) {
    AppendTitle(&text, colour, "Notices");
    text += NoticesText(detail);
  }
  if (run.entropy_fraction_size() > 0) {
    AppendTitle(&text, colour, "Entropy of every head, as a fraction of its bound U = ln(T!)/T");
    text += HeatText(run, colour);
  }
  if (detail.rungs_size() > 0) {
    AppendTitle(&text, colour, "Early stopping");
    text += RungsText(detail, colour);
  }
  if (detail.attempts_size() > 0) {
    AppendTitle(&text, colour, "Attempts");
    text += AttemptsText(detail, colour);
  }
  if (detail.checkpoints_size() > 0) {
    AppendTitle(&text, colour, "Checkpoints");
    for (const v1::Checkpoint& checkpoint : detail.checkpoints()) {
      StrAppend(&text, "  step ", checkpoint.step(), "  ", FormatBytes(checkpoint.bytes()), "  ", Printable(checkpoint.path()), "\n");
    }
  }
  if (const std::string deleted = RetiredText(detail); !deleted.empty()) {
    AppendTitle(&text, colour, "Deleted");
    text += deleted;
  }
  return text;
}

std::string ExplainRun(const v1::RunDetail& detail, Colour colour) {
  const v1::RunSummary& run = detail.summary();
  std::string text = StrCat(Paint(colour, Style::kBold, Printable(run.label())), " (", run.id(), ") ", Sentence(detail), "\n");
  if (!run.fully_judged() && run.state() == "succeeded") {
    text += "Its machine was lost before its last samples came: they were not judged by the health rules.\n";
  }
  if (!detail.verdict().reason().empty()) {
    AppendTitle(&text, colour, "Evidence");
    text += VerdictText(detail.verdict(), run.n_head());
  }
  if (detail.rungs_size() > 0) {
    AppendTitle(&text, colour, "Early stopping");
    text += RungsText(detail, colour);
  }
  if (const std::string lineage = LineageText(run); !lineage.empty()) StrAppend(&text, lineage, "\n");
  if (detail.notices_size() > 0) {
    AppendTitle(&text, colour, "Notices");
    text += NoticesText(detail);
  }
  if (const std::string deleted = RetiredText(detail); !deleted.empty()) {
    AppendTitle(&text, colour, "Deleted");
    text += deleted;
  }
  const std::string attempts = AttemptsText(detail, colour);
  if (detail.attempts_size() > 1 || run.state() == "failed") {
    AppendTitle(&text, colour, "Attempts");
    text += attempts;
  }
  if (detail.history_size() > 0) {
    AppendTitle(&text, colour, "History (UTC)");
    text += HistoryText(detail);
  }
  return text;
}

}  // namespace entrain::cli
