// The tables of every field that decides a run: what the canonical JSON holds and what a sweep file may set.
#pragma once

#include <vector>

#include "domain/run_config.h"
#include "sweep/field.h"

namespace entrain::sweep {

// Settings of one layer; in a file they stand flat in `model` (for every layer) and in `model.layers.<range>`.
const std::vector<Field<domain::LayerConfig>>& LayerFields();
// Settings of the whole network, without those of its layers.
const std::vector<Field<domain::ModelConfig>>& ModelFields();
const std::vector<Field<domain::TrainConfig>>& TrainFields();
const std::vector<Field<domain::Resources>>& ResourceFields();
const std::vector<Field<domain::RetryLimits>>& RetryFields();
const std::vector<Field<domain::RunLimits>>& LimitFields();

// A fused FFN has one linear, so that "the FFN's linears" are ffn_in alone.
void NarrowReparamTargets(domain::LayerConfig* layer);

// The layers that "3" or "0-4" names; empty when the text is neither or the indices are out of order or above 1023.
std::vector<std::int64_t> ParseLayerRange(std::string_view text);

}  // namespace entrain::sweep
