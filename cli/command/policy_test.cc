#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/collect.h"
#include "cli/command/commands.h"
#include "cli/format.h"
#include "cli/interrupts.h"
#include "cli/local/visit.h"
#include "cli/session.h"
#include "cli/trace_files.h"
#include "reports/back_test.h"

namespace entrain::cli::command {
namespace {

namespace backtest = policy::backtest;

struct PolicyTestOptions {
  std::string preset = "default";
  std::string rule;  // only this one; empty: all
  std::vector<std::string> runs;
  std::string traces;
  std::string part = "all";
  std::string dir = "entrain-data";
  // "table", "json" or the SVG file; the last of each kind counts.
  std::vector<std::string> outputs;
};

const std::vector<std::string> kRuleNames = {"collapse", "overload", "spike", "divergence", "non_finite", "plateau", "max_score"};

// The preset with one rule only, which stops whatever the preset does on it.
domain::HealthRules OnlyRule(domain::HealthRules rules, const std::string& name) {
  const auto use = [&](const char* rule, auto* settings) {
    settings->enabled = name == rule;
    if (settings->enabled) settings->action = domain::RuleAction::kStopAndKeep;
  };
  use("collapse", &rules.collapse);
  use("overload", &rules.overload);
  use("spike", &rules.spike);
  use("divergence", &rules.divergence);
  use("non_finite", &rules.non_finite);
  use("plateau", &rules.plateau);
  use("max_score", &rules.max_score);
  return rules;
}

bool Wanted(const reports::RunData& run, const std::vector<std::string>& wishes) {
  return std::any_of(wishes.begin(), wishes.end(), [&](const std::string& wish) { return run.label == wish || run.variant == wish || run.id.starts_with(wish); });
}

// --runs: a sweep, or runs of the newest one by id, label or variant.
absl::StatusOr<std::vector<backtest::Trace>> TracesOfRuns(Session* session, const PolicyTestOptions& options) {
  const SystemClock clock;
  const Interrupts interrupts;
  ENTRAIN_ASSIGN_OR_RETURN(const auto visit, local::VisitIfNeeded(session, options.dir, &clock, &interrupts));
  auto sweep = CollectSweep(&session->client(), options.runs.front(), {}, 0);
  const bool whole = sweep.ok();
  if (!whole) sweep = CollectSweep(&session->client(), "last", {}, 0);
  if (!sweep.ok()) return sweep.status();
  std::vector<backtest::Trace> traces;
  for (const reports::RunData& run : sweep->runs) {
    if (run.samples.empty() || (!whole && !Wanted(run, options.runs))) continue;
    ENTRAIN_ASSIGN_OR_RETURN(backtest::Trace trace, TraceOf(run, sweep->name));
    traces.push_back(std::move(trace));
  }
  if (traces.empty()) return absl::NotFoundError("no run with samples fits --runs");
  return traces;
}

// Labels come from files of others.
std::string PrintableLines(const std::string& text) {
  std::string out;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    StrAppend(&out, Printable(text.substr(begin, end - begin)), "\n");
    begin = end + 1;
  }
  return out;
}

int PolicyTest(Session* session, const PolicyTestOptions& options) {
  std::string plot;
  for (const std::string& output : options.outputs) {
    if (output == "table" || output == "json") session->output = output;
    else plot = output;
  }
  if (options.traces.empty() == options.runs.empty()) {
    return session->Fail(absl::InvalidArgumentError("one of --traces and --runs must be given; see entrain policy test --help"), kExitUsage);
  }
  const auto traces = options.traces.empty() ? TracesOfRuns(session, options) : ReadTraces(options.traces);
  if (!traces.ok()) return session->Fail(traces.status());
  domain::HealthRules rules = domain::RulesOf(*domain::ParseHealthPreset(options.preset));
  if (!options.rule.empty()) rules = OnlyRule(rules, options.rule);
  reports::BackTest test{options.rule.empty() ? StrCat("preset ", options.preset) : StrCat("rule ", options.rule, " of preset ", options.preset),
                         options.traces.empty() ? "runs" : options.traces, options.part, {}};
  for (const backtest::Trace& trace : *traces) {
    backtest::Outcome outcome = backtest::Replay(rules, trace);
    const std::string part = outcome.part == backtest::Part::kTest ? "test" : "training";
    if (options.part == "all" || options.part == part) test.outcomes.push_back(std::move(outcome));
  }
  std::string text = PrintableLines(reports::BackTestText(test));
  if (!plot.empty()) {
    const absl::Status written = WriteFileAtomically(plot, reports::BackTestSvg(test));
    if (!written.ok()) return session->Fail(written);
    StrAppend(&text, "plot: ", Printable(plot), "\n");
  }
  session->Print(text, nlohmann::json::parse(reports::BackTestJson(test)));
  return kExitOk;
}

}  // namespace

void AddPolicy(CLI::App* app, Session* session) {
  CLI::App* policy = app->add_subcommand("policy", "Judges health rules on recorded runs");
  policy->require_subcommand(1);
  const auto options = std::make_shared<PolicyTestOptions>();
  CLI::App* command = AddCommand(policy, session, "test",
      {"Replays a preset or a rule on recorded runs",
       "Says how many collapsing runs it stops and when, how many healthy ones in vain, and what it saves, with 95 % intervals beside the\n"
       "targets of docs/policy.md. --traces reads files of `entrain export --format traces`; examples/corpus/traces is such a folder.\n"
       "--runs takes a sweep, or runs of the newest sweep by id, label or variant.",
       "  entrain policy test --preset default --traces examples/corpus/traces --part test\n"
       "  entrain policy test --rule collapse --preset eager --runs last -o plot.svg"});
  command->add_option("--preset", options->preset, "The rules")->check(CLI::IsMember({"default", "cautious", "eager"}))->capture_default_str();
  command->add_option("--rule", options->rule, "Only this rule of them, which then stops")->check(CLI::IsMember(kRuleNames));
  command->add_option("--traces", options->traces, "Folder of recorded runs (.json, .json.gz)");
  command->add_option("--runs", options->runs, "A sweep, or runs of the newest one");
  command->add_option("--part", options->part, "Which part of the split by setting")->check(CLI::IsMember({"all", "test", "training"}))->capture_default_str();
  command->add_option("--dir", options->dir, "Folder of an `entrain local`, whose coordinator is started when none runs")->capture_default_str();
  command->add_option("-o,--output", options->outputs, "table or json: how the result is printed; otherwise the plot's file (SVG)")
      ->allow_extra_args(false)
      ->group("Common options");
  command->callback([=] { session->command = [=] { return PolicyTest(session, *options); }; });
}

}  // namespace entrain::cli::command
