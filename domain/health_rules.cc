#include "domain/health_rules.h"

#include <array>

#include "domain/enum_names.h"

namespace entrain::domain {
namespace {

constexpr std::array kActions = {Name{RuleAction::kStopAndKeep, "stop_and_keep"}, Name{RuleAction::kStop, "stop"},
                                 Name{RuleAction::kNotify, "notify"}, Name{RuleAction::kPause, "pause"},
                                 Name{RuleAction::kRescue, "rescue"}};
constexpr std::array kPresets = {Name{HealthPreset::kDefault, "default"}, Name{HealthPreset::kCautious, "cautious"},
                                 Name{HealthPreset::kEager, "eager"}};

HealthRules Cautious() {
  HealthRules rules;
  rules.collapse.below_fraction_of_bound = 0.02;
  rules.collapse.share_of_heads = 0.33;
  rules.collapse.min_gap_steps = 100;
  rules.collapse.min_gap_fraction = 0.25;
  rules.collapse.cascade_layers = 3;
  rules.collapse.cascade_below = 0.03;
  rules.collapse.cascade_fraction = 0.15;
  rules.divergence.action = RuleAction::kNotify;
  return rules;
}

HealthRules Eager() {
  HealthRules rules;
  rules.collapse.below_fraction_of_bound = 0.05;
  rules.collapse.share_of_heads = 0.10;
  rules.collapse.min_gap_steps = 10;
  rules.collapse.min_gap_fraction = 0.05;
  rules.collapse.cascade_steps = 5;
  rules.collapse.cascade_fraction = 0.017;
  rules.max_score.action = RuleAction::kStopAndKeep;
  return rules;
}

}  // namespace

std::string_view ToString(RuleAction action) { return TextOf(kActions, action); }
std::optional<RuleAction> ParseRuleAction(std::string_view text) { return ValueOf<RuleAction>(kActions, text); }
std::string_view ToString(HealthPreset preset) { return TextOf(kPresets, preset); }
std::optional<HealthPreset> ParseHealthPreset(std::string_view text) { return ValueOf<HealthPreset>(kPresets, text); }

HealthRules RulesOf(HealthPreset preset) {
  HealthRules rules = preset == HealthPreset::kCautious ? Cautious() : preset == HealthPreset::kEager ? Eager() : HealthRules();
  rules.preset = preset;
  return rules;
}

}  // namespace entrain::domain
