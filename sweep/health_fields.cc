#include "sweep/health_fields.h"

namespace entrain::sweep {
namespace {

using domain::CollapseRule;
using domain::DivergenceRule;
using domain::HealthPreset;
using domain::HealthRules;
using domain::NonFiniteRule;
using domain::OverloadRule;
using domain::PlateauRule;
using domain::RescueChange;
using domain::RuleAction;
using domain::ScoreRule;
using domain::SpikeRule;

template <typename RuleType>
Field<RuleType> ActionField() {
  Names<RuleAction> names;
  for (const RuleAction action : {RuleAction::kStopAndKeep, RuleAction::kStop, RuleAction::kNotify, RuleAction::kPause, RuleAction::kRescue}) {
    names.emplace_back(std::string(domain::ToString(action)), action);
  }
  return Choice<RuleType, RuleAction>("action", &RuleType::action, names,
                                      "What follows: stop after a last checkpoint, stop at once, only notify, pause at a checkpoint, or rescue.");
}

template <typename RuleType>
void AddSustained(std::vector<Field<RuleType>>* fields, std::string_view doc) {
  fields->push_back(Integer("sustained_steps", &RuleType::sustained_steps, Between(0, 1e9), std::string(doc) + "; steps, at least"));
  fields->push_back(Number("sustained_fraction", &RuleType::sustained_fraction, Between(0, 1), "The same as a share of the run's steps; the longer counts."));
}

std::vector<Field<CollapseRule>> MakeCollapseFields() {
  return {
      Bool("enabled", &CollapseRule::enabled, "Watch for heads that collapse."),
      ActionField<CollapseRule>(),
      Number("below_fraction_of_bound", &CollapseRule::below_fraction_of_bound, Between(0, 1),
             "A head is collapsed while its entropy is below this fraction of U = ln(T!)/T."),
      Bool("whole_layer", &CollapseRule::whole_layer, "Fires when every head of some layer is collapsed."),
      Number("share_of_heads", &CollapseRule::share_of_heads, AtLeast(0),
             "Fires when at least this share of all heads is collapsed; above 1 never."),
      Integer("observations", &CollapseRule::observations, Between(1, 1e6), "Observations in a row at which it must hold."),
      Integer("min_gap_steps", &CollapseRule::min_gap_steps, Between(0, 1e9), "Steps between two observations, at least."),
      Number("min_gap_fraction", &CollapseRule::min_gap_fraction, Between(0, 1), "The same as a share of the run's steps; the longer counts."),
      Integer("cascade_layers", &CollapseRule::cascade_layers, Between(0, 1e6),
              "Fires when so many layers are gone (every head below cascade_below) or fall towards it, one of them gone; 0 never."),
      Number("cascade_below", &CollapseRule::cascade_below, Between(0, 1), "A layer is gone while all its heads are below this fraction of U."),
      Integer("cascade_steps", &CollapseRule::cascade_steps, Between(1, 1e9), "Steps for which a cascade must hold, at least."),
      Number("cascade_fraction", &CollapseRule::cascade_fraction, Between(0, 1), "The same as a share of the run's steps; the longer counts."),
  };
}

std::vector<Field<OverloadRule>> MakeOverloadFields() {
  std::vector<Field<OverloadRule>> fields = {
      Bool("enabled", &OverloadRule::enabled, "Watch for heads that average over everything."),
      ActionField<OverloadRule>(),
      Number("above_fraction_of_bound", &OverloadRule::above_fraction_of_bound, Between(0, 1), "A head is overloaded from this fraction of U on."),
      Number("share_of_heads", &OverloadRule::share_of_heads, AtLeast(0), "Fires when at least this share of all heads is overloaded; above 1 never."),
  };
  AddSustained(&fields, "How long it must hold");
  return fields;
}

std::vector<Field<DivergenceRule>> MakeDivergenceFields() {
  std::vector<Field<DivergenceRule>> fields = {
      Bool("enabled", &DivergenceRule::enabled, "Watch for a loss that rises and stays up."),
      ActionField<DivergenceRule>(),
      Number("above_best_nats", &DivergenceRule::above_best_nats, AtLeast(0), "Fires while the window's median loss is this far above the best so far."),
      Integer("window_steps", &DivergenceRule::window_steps, Between(3, 1e9), "Steps of the window."),
  };
  AddSustained(&fields, "How long it must hold");
  return fields;
}

std::vector<Field<PlateauRule>> MakePlateauFields() {
  std::vector<Field<PlateauRule>> fields = {
      Bool("enabled", &PlateauRule::enabled, "Watch for a loss that no longer falls."),
      ActionField<PlateauRule>(),
      Number("min_improvement_nats", &PlateauRule::min_improvement_nats, AtLeast(0), "A gain of the window's median loss that counts."),
      Integer("window_steps", &PlateauRule::window_steps, Between(3, 1e9), "Steps of the window."),
  };
  AddSustained(&fields, "Fires after so long without a gain");
  return fields;
}

std::vector<Field<ScoreRule>> MakeScoreFields() {
  std::vector<Field<ScoreRule>> fields = {
      Bool("enabled", &ScoreRule::enabled, "Watch the largest attention score of any layer."),
      ActionField<ScoreRule>(),
      Number("above", &ScoreRule::above, AtLeast(0), "Fires while it is above this; 65504 is the largest number of fp16."),
  };
  AddSustained(&fields, "How long it must hold");
  return fields;
}

}  // namespace

const std::vector<Field<HealthRules>>& HealthPresetFields() {
  static const std::vector<Field<HealthRules>> fields = [] {
    Names<HealthPreset> names;
    for (const HealthPreset preset : {HealthPreset::kDefault, HealthPreset::kCautious, HealthPreset::kEager}) {
      names.emplace_back(std::string(domain::ToString(preset)), preset);
    }
    Field<HealthRules> field = Choice<HealthRules, HealthPreset>("preset", &HealthRules::preset, names,
                                                                 "Where all rules below begin; what else is set in the same place overrides it.");
    field.set = [](HealthRules& rules, const Value& value) {
      rules = domain::RulesOf(domain::ParseHealthPreset(std::get<std::string>(value)).value_or(HealthPreset::kDefault));
    };
    return std::vector<Field<HealthRules>>{field};
  }();
  return fields;
}

const std::vector<Field<CollapseRule>>& CollapseFields() {
  static const auto fields = MakeCollapseFields();
  return fields;
}

const std::vector<Field<OverloadRule>>& OverloadFields() {
  static const auto fields = MakeOverloadFields();
  return fields;
}

const std::vector<Field<SpikeRule>>& SpikeFields() {
  static const std::vector<Field<SpikeRule>> fields = {
      Bool("enabled", &SpikeRule::enabled, "Watch for losses far above their baseline."),
      ActionField<SpikeRule>(),
      Number("spreads", &SpikeRule::spreads, AtLeast(0), "Spreads above the median of the losses before it."),
      Number("at_least_nats", &SpikeRule::at_least_nats, AtLeast(0), "Nats above that median, at least."),
      Integer("observations", &SpikeRule::observations, Between(1, 1e6), "Losses in a row."),
      Integer("window_steps", &SpikeRule::window_steps, Between(3, 1e9), "Steps of the baseline."),
  };
  return fields;
}

const std::vector<Field<DivergenceRule>>& DivergenceFields() {
  static const auto fields = MakeDivergenceFields();
  return fields;
}

const std::vector<Field<NonFiniteRule>>& NonFiniteFields() {
  static const std::vector<Field<NonFiniteRule>> fields = {
      Bool("enabled", &NonFiniteRule::enabled, "Watch for a loss, gradient, score or entropy that is not finite."),
      ActionField<NonFiniteRule>(),
  };
  return fields;
}

const std::vector<Field<PlateauRule>>& PlateauFields() {
  static const auto fields = MakePlateauFields();
  return fields;
}

const std::vector<Field<ScoreRule>>& ScoreFields() {
  static const auto fields = MakeScoreFields();
  return fields;
}

const std::vector<Field<RescueChange>>& RescueFields() {
  using domain::Regulariser;
  static const std::vector<Field<RescueChange>> fields = {
      Choice<RescueChange, Regulariser>("reg", &RescueChange::reg,
                                        {{"none", Regulariser::kNone}, {"mean", Regulariser::kMean}, {"mean_seq", Regulariser::kMeanSeq}, {"sum", Regulariser::kSum},
                                         {"authors", Regulariser::kAuthors}},
                                        "The entropy regulariser from there on; none: the run's own."),
      Number("reg_lambda", &RescueChange::reg_lambda, AtLeast(0), "Its weight."),
      Number("lr_factor", &RescueChange::lr_factor, Above(0), "Times the run's learning rate."),
  };
  return fields;
}

}  // namespace entrain::sweep
