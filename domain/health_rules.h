// When a run is stopped, paused, rescued or told of: the rules of a sweep file's `health` section. docs/policy.md explains each.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "domain/model_config.h"

namespace entrain::domain {

// What follows from a rule that fires.
enum class RuleAction {
  kStopAndKeep,  // finish the step, write a checkpoint, end
  kStop,         // end at once
  kNotify,       // only say so
  kPause,        // finish the step, write a checkpoint, wait for a person
  kRescue,       // stop, and go on from the last healthy checkpoint as another run with changed settings
};
std::string_view ToString(RuleAction action);  // "stop_and_keep", "stop", "notify", "pause", "rescue"
std::optional<RuleAction> ParseRuleAction(std::string_view text);
// Whether the run ends by it.
inline bool EndsRun(RuleAction action) { return action != RuleAction::kNotify && action != RuleAction::kPause; }

// Sustained means: for at least so many steps and at least so large a share of the run's steps, without a break.
struct CollapseRule {
  bool enabled = true;
  RuleAction action = RuleAction::kStopAndKeep;
  // Level. A head is collapsed while its entropy is below this fraction of U = ln(T!)/T.
  double below_fraction_of_bound = 0.025;
  // Fires when every head of some layer is collapsed ...
  bool whole_layer = true;
  // ... or at least this share of all heads; a value above 1 never does ...
  double share_of_heads = 0.20;
  // ... at so many observations in a row, each this far after the one before.
  std::int64_t observations = 2;
  std::int64_t min_gap_steps = 50;
  double min_gap_fraction = 0.15;
  // Trend. Fires while some layer's heads are all below cascade_below, and at least cascade_layers layers are or fall towards it: their mean
  // is below 0.3 of the bound and its line over half the time reaches cascade_below within as much again. 0 layers: never.
  std::int64_t cascade_layers = 2;
  double cascade_below = 0.05;
  std::int64_t cascade_steps = 16;
  double cascade_fraction = 0.06;
  friend bool operator==(const CollapseRule&, const CollapseRule&) = default;
};

// Heads that average over everything.
struct OverloadRule {
  bool enabled = true;
  RuleAction action = RuleAction::kNotify;
  double above_fraction_of_bound = 0.75;
  double share_of_heads = 0.95;
  std::int64_t sustained_steps = 200;
  double sustained_fraction = 0.5;
  friend bool operator==(const OverloadRule&, const OverloadRule&) = default;
};

// Against the median of the losses before it, over the last window; spread is 1.4826 times their median absolute deviation.
struct SpikeRule {
  bool enabled = true;
  RuleAction action = RuleAction::kNotify;
  double spreads = 10.0;
  double at_least_nats = 0.5;
  std::int64_t observations = 3;  // in a row
  std::int64_t window_steps = 50;
  friend bool operator==(const SpikeRule&, const SpikeRule&) = default;
};

// The median loss of the last window above the best such median so far.
struct DivergenceRule {
  bool enabled = true;
  RuleAction action = RuleAction::kStopAndKeep;
  double above_best_nats = 1.0;
  std::int64_t window_steps = 20;
  std::int64_t sustained_steps = 30;
  double sustained_fraction = 0.10;
  friend bool operator==(const DivergenceRule&, const DivergenceRule&) = default;
};

struct NonFiniteRule {
  bool enabled = true;
  RuleAction action = RuleAction::kStopAndKeep;
  friend bool operator==(const NonFiniteRule&, const NonFiniteRule&) = default;
};

// The median loss of a window not below the best one by more than a share, for long.
struct PlateauRule {
  bool enabled = false;
  RuleAction action = RuleAction::kNotify;
  double min_improvement_nats = 0.01;
  std::int64_t window_steps = 50;
  std::int64_t sustained_steps = 500;
  double sustained_fraction = 0.25;
  friend bool operator==(const PlateauRule&, const PlateauRule&) = default;
};

// The largest attention score of any layer.
struct ScoreRule {
  bool enabled = true;
  RuleAction action = RuleAction::kNotify;
  double above = 65504.0;  // the largest number of fp16
  std::int64_t sustained_steps = 10;
  double sustained_fraction = 0.05;
  friend bool operator==(const ScoreRule&, const ScoreRule&) = default;
};

// What differs in the run that a rescue makes.
struct RescueChange {
  Regulariser reg = Regulariser::kMean;  // kNone: leave the run's regulariser as it is
  double reg_lambda = 0.16;
  double lr_factor = 0.3;  // of the run's learning rate
  friend bool operator==(const RescueChange&, const RescueChange&) = default;
};

enum class HealthPreset { kDefault, kCautious, kEager };
std::string_view ToString(HealthPreset preset);
std::optional<HealthPreset> ParseHealthPreset(std::string_view text);

struct HealthRules {
  HealthPreset preset = HealthPreset::kDefault;  // where the rules below began
  CollapseRule collapse;
  OverloadRule overload;
  SpikeRule spike;
  DivergenceRule divergence;
  NonFiniteRule non_finite;
  PlateauRule plateau;
  ScoreRule max_score;
  RescueChange rescue;
  friend bool operator==(const HealthRules&, const HealthRules&) = default;
};

// default: stops what its evidence (docs/policy.md) shows to be lost. cautious: only what is lost beyond doubt, later. eager: at the first
// sign; it may stop a run that would have recovered.
HealthRules RulesOf(HealthPreset preset);

}  // namespace entrain::domain
