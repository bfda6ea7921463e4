#include "domain/health_rules.h"

#include <array>
#include <utility>

namespace entrain::domain {
namespace {

constexpr std::array kActionNames = {
    std::pair{RuleAction::kStopAndKeep, std::string_view("stop_and_keep")}, std::pair{RuleAction::kStop, std::string_view("stop")},
    std::pair{RuleAction::kNotify, std::string_view("notify")}, std::pair{RuleAction::kPause, std::string_view("pause")},
    std::pair{RuleAction::kRescue, std::string_view("rescue")}};
constexpr std::array kPresetNames = {std::pair{HealthPreset::kDefault, std::string_view("default")},
                                     std::pair{HealthPreset::kCautious, std::string_view("cautious")},
                                     std::pair{HealthPreset::kEager, std::string_view("eager")}};

template <typename Table, typename Enum>
std::string_view NameIn(const Table& table, Enum value) {
  for (const auto& [known, text] : table) {
    if (known == value) return text;
  }
  return "";
}

template <typename Enum, typename Table>
std::optional<Enum> ValueIn(const Table& table, std::string_view text) {
  for (const auto& [value, known] : table) {
    if (known == text) return value;
  }
  return std::nullopt;
}

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

std::string_view ToString(RuleAction action) { return NameIn(kActionNames, action); }
std::optional<RuleAction> ParseRuleAction(std::string_view text) { return ValueIn<RuleAction>(kActionNames, text); }
std::string_view ToString(HealthPreset preset) { return NameIn(kPresetNames, preset); }
std::optional<HealthPreset> ParseHealthPreset(std::string_view text) { return ValueIn<HealthPreset>(kPresetNames, text); }

HealthRules RulesOf(HealthPreset preset) {
  HealthRules rules = preset == HealthPreset::kCautious ? Cautious() : preset == HealthPreset::kEager ? Eager() : HealthRules();
  rules.preset = preset;
  return rules;
}

}  // namespace entrain::domain
