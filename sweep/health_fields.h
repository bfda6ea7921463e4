// The tables of the `health` section.
#pragma once

#include <vector>

#include "domain/health_rules.h"
#include "sweep/field.h"

namespace entrain::sweep {

const std::vector<Field<domain::HealthRules>>& HealthPresetFields();  // `preset`, which sets all the others
const std::vector<Field<domain::CollapseRule>>& CollapseFields();
const std::vector<Field<domain::OverloadRule>>& OverloadFields();
const std::vector<Field<domain::SpikeRule>>& SpikeFields();
const std::vector<Field<domain::DivergenceRule>>& DivergenceFields();
const std::vector<Field<domain::NonFiniteRule>>& NonFiniteFields();
const std::vector<Field<domain::PlateauRule>>& PlateauFields();
const std::vector<Field<domain::ScoreRule>>& ScoreFields();
const std::vector<Field<domain::RescueChange>>& RescueFields();

}  // namespace entrain::sweep
