#include "sweep/sweep.h"

#include <algorithm>
#include <map>
#include <optional>

#include "base/strings.h"
#include "sweep/draft.h"
#include "sweep/run_config_json.h"
#include "sweep/sweep_file.h"

namespace entrain::sweep {
namespace {

constexpr double kMaxRuns = 10'000;
constexpr std::size_t kMaxConfigBytes = 64 << 20;

// Expands variants x axes into runs.
class Expansion {
 public:
  Expansion(const SweepFile& file, const BoundDataset& dataset, ProblemList* problems, ParsedSweep* result)
      : file_(file), dataset_(dataset), problems_(problems), result_(result), chosen_(file.axes.size(), 0) {}

  void Run() {
    double cells = static_cast<double>(file_.variants.size());
    for (const Axis& axis : file_.axes) cells *= static_cast<double>(axis.values.size());
    if (cells > kMaxRuns) {
      problems_->Add(file_.axes_place, "axes",
                     StrCat("variants times axes give ", cells, " runs, more than ", kMaxRuns));
      return;
    }
    for (const Variant& variant : file_.variants) {
      Draft base;
      for (const Setting& setting : file_.settings) Apply(setting, &base);
      for (const Setting& setting : variant.settings) Apply(setting, &base);
      ExpandAxes(variant, base, 0);
    }
    if (result_->spec.runs.empty() && cells > 0 && problems_->empty()) {
      problems_->Add({}, "exclude", "the exclude and when rules leave no run");
    }
  }

 private:
  void ExpandAxes(const Variant& variant, const Draft& draft, std::size_t axis) {
    if (config_bytes_ > kMaxConfigBytes) return;
    if (axis == file_.axes.size()) {
      if (Kept(variant)) AddRun(variant, draft);
      return;
    }
    for (std::size_t i = 0; i < file_.axes[axis].values.size(); ++i) {
      chosen_[axis] = i;
      Draft next = draft;
      Apply({file_.axes[axis].field, file_.axes[axis].values[i], file_.axes[axis].value_places[i], {}}, &next);
      ExpandAxes(variant, next, axis + 1);
    }
  }

  std::string AxisText(std::size_t axis) const { return ToText(file_.axes[axis].values[chosen_[axis]]); }

  bool Holds(const Rule& rule, const Variant& variant) const {
    return std::all_of(rule.conditions.begin(), rule.conditions.end(), [&](const Rule::Condition& condition) {
      return condition.values.contains(condition.axis < 0 ? variant.name
                                                          : AxisText(static_cast<std::size_t>(condition.axis)));
    });
  }
  bool AnyHolds(const std::vector<Rule>& rules, const Variant& variant) const {
    return std::any_of(rules.begin(), rules.end(), [&](const Rule& rule) { return Holds(rule, variant); });
  }
  bool Kept(const Variant& variant) const {
    return !AnyHolds(file_.exclude, variant) && (file_.when.empty() || AnyHolds(file_.when, variant));
  }

  void AddRun(const Variant& variant, Draft draft) {
    if (!Resolve(dataset_, file_.failed, &draft, problems_)) return;
    domain::RunSpec run;
    run.variant = run.label = variant.name;
    for (std::size_t axis = 0; axis < file_.axes.size(); ++axis) {
      run.axes[file_.axes[axis].field] = AxisText(axis);
      StrAppend(&run.label, " ", file_.axes[axis].label, "=", AxisText(axis));
    }
    run.config_json = ToCanonicalJson(draft.config);
    run.cell = MakeCellId(run.config_json);
    if (!Unique(variant, run)) return;
    const Estimate estimate = EstimateRun(draft.config);
    run.resources = draft.config.resources;
    run.steps = draft.config.train.steps;
    run.n_layer = draft.config.model.n_layer;
    run.n_head = draft.config.model.n_head;
    run.context = draft.config.train.context;
    run.parameters = estimate.parameters;
    run.dataset = draft.config.dataset;
    run.health = draft.health;
    run.retries = draft.retries;
    run.limits = draft.limits;
    run.early_stopping = file_.head.early_stopping;
    if (!CheckRungs(draft.config.train)) return;
    if (WantsRescue(draft.health)) run.rescue.push_back(RescueOf(run, draft));
    config_bytes_ += run.config_json.size();
    if (config_bytes_ > kMaxConfigBytes) {
      problems_->Add({}, "",
                     StrCat("the configurations of all runs together have more than ", kMaxConfigBytes, " bytes"));
    }
    result_->spec.runs.push_back(std::move(run));
    result_->estimates.push_back(estimate);
  }

  // Whether the run can be compared at its first rung.
  bool CheckRungs(const domain::TrainConfig& train) {
    const domain::EarlyStopping& rule = file_.head.early_stopping;
    if (rule.method == domain::Halving::kNone || file_.early_stopping_failed) return true;
    if (rule.min_steps >= train.steps) {
      problems_->Add(file_.early_stopping_place, "early_stopping.min_steps",
                     StrCat("is ", rule.min_steps, "; a run of ", train.steps, " steps never comes to a rung"));
      return false;
    }
    if (rule.metric == domain::RungMetric::kEvalLoss && train.eval_interval_steps == 0) {
      problems_->Add(file_.early_stopping_place, "early_stopping.metric", "eval_loss needs train.eval_interval_steps above 0");
      return false;
    }
    return true;
  }

  static std::vector<domain::RuleAction*> ActionsOf(domain::HealthRules* rules) {
    return {&rules->collapse.action,   &rules->overload.action, &rules->spike.action,    &rules->divergence.action,
            &rules->non_finite.action, &rules->plateau.action,  &rules->max_score.action};
  }
  static bool WantsRescue(domain::HealthRules rules) {
    const auto actions = ActionsOf(&rules);
    return std::any_of(actions.begin(), actions.end(), [](const auto* action) { return *action == domain::RuleAction::kRescue; });
  }
  // The run that goes on in place of one that is rescued: other settings, and no second rescue.
  static domain::RunSpec RescueOf(const domain::RunSpec& run, const Draft& draft) {
    const domain::RescueChange& change = draft.health.rescue;
    domain::RunConfig config = draft.config;
    config.train.lr *= change.lr_factor;
    if (change.reg != domain::Regulariser::kNone) {
      config.model.reg = change.reg;
      config.model.reg_lambda = change.reg_lambda;
    }
    domain::RunSpec rescue = run;
    StrAppend(&rescue.label, " (rescue)");
    StrAppend(&rescue.variant, " (rescue)");
    rescue.config_json = ToCanonicalJson(config);
    // Another run of the sweep may have the same settings from its first step on.
    rescue.cell = MakeCellId(StrCat(rescue.config_json, "\nrescue of ", run.cell.value()));
    rescue.parameters = EstimateRun(config).parameters;
    // It is not compared with runs that began at the first step.
    rescue.early_stopping = {};
    for (domain::RuleAction* action : ActionsOf(&rescue.health)) {
      if (*action == domain::RuleAction::kRescue) *action = domain::RuleAction::kStopAndKeep;
    }
    return rescue;
  }

  // A run is known by its configuration and by its label; two alike would be one.
  bool Unique(const Variant& variant, const domain::RunSpec& run) {
    const auto [same_cell, new_cell] = labels_of_cells_.emplace(run.cell.value(), run.label);
    if (!new_cell) {
      problems_->Add(variant.place, "variants",
                     StrCat("the runs ", same_cell->second, " and ", run.label,
                            " have the same configuration; let them differ, for example in train.seed"));
      return false;
    }
    if (!labels_.insert(run.label).second) {
      problems_->Add(variant.place, "variants", StrCat("two runs are called ", run.label));
      return false;
    }
    return true;
  }

  const SweepFile& file_;
  const BoundDataset& dataset_;
  ProblemList* problems_;
  ParsedSweep* result_;
  std::vector<std::size_t> chosen_;
  std::map<std::string, std::string> labels_of_cells_;
  std::set<std::string> labels_;
  std::size_t config_bytes_ = 0;
};

// The root of the file, which must be a map.
YamlPointer ParseRoot(std::string_view yaml, ProblemList* problems) {
  YamlPointer root = ParseYaml(yaml, problems);
  if (root != nullptr && !root->IsMap()) {
    problems->Add(root->place, "", StrCat("a sweep file is a map of sections; this is ", DescribeNode(*root)));
    return nullptr;
  }
  return root;
}

}  // namespace

std::vector<Problem> ParseDataSource(std::string_view yaml, DataSource* source) {
  ProblemList problems;
  if (const YamlPointer root = ParseRoot(yaml, &problems)) ReadDataSection(*root, &problems, source);
  return problems.Take();
}

std::vector<Problem> ParseSweep(std::string_view yaml, const BoundDataset& dataset, const std::string& owner,
                                ParsedSweep* result) {
  *result = {};
  ProblemList problems;
  ParsedSweep parsed;
  if (const YamlPointer root = ParseRoot(yaml, &problems)) {
    SweepFile file;
    ReadSweepFile(*root, &problems, &file);
    parsed.spec = file.head;
    parsed.data = file.data;
    Expansion(file, dataset, &problems, &parsed).Run();
  }
  if (!problems.empty()) return problems.Take();
  parsed.spec.owner = owner;
  parsed.spec.yaml = std::string(yaml);
  *result = std::move(parsed);
  return {};
}

}  // namespace entrain::sweep
