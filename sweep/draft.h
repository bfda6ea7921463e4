// One cell of a sweep while settings are laid over it: defaults, the file's sections, the variant's preset and
// settings, the axes.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "domain/run_config.h"
#include "sweep/field.h"
#include "sweep/problem_list.h"
#include "sweep/sweep.h"

namespace entrain::sweep {

struct Draft {
  domain::RunConfig config;
  domain::HealthRules health;
  domain::RetryLimits retries;
  domain::RunLimits limits;
  // Quantities that a file may state in tokens or as a share; 0 is "not stated". The later of two ways of stating one
  // thing counts.
  struct Stated {
    std::int64_t tokens = 0;
    std::int64_t batch_tokens = 0;
    std::int64_t warmup_tokens = 0;
    double warmup_fraction = 0.0;
    std::int64_t eval_interval_tokens = 0;
    std::int64_t checkpoint_interval_tokens = 0;
  } stated;
  // Where each field was set last; fields that keep their default are absent.
  std::map<std::string, Place> places;
  std::map<std::int64_t, std::vector<std::pair<std::string, Value>>> layer_settings;

  Place PlaceOf(const std::string& field) const;
};

// One setting as written: a field of DraftFields, or one of LayerFields for some layers.
struct Setting {
  std::string field;  // "train.lr"; of a layer setting the bare name, "norm"
  Value value;
  Place place;
  std::vector<std::int64_t> layers;
};

// Every field that a sweep file can set on a run, by dotted path, in the order of the reference.
const std::vector<Field<Draft>>& DraftFields();
const Field<Draft>* FindDraftField(std::string_view path);
// Fields of which only one may be given in one place.
const std::vector<std::vector<std::string>>& ExclusiveFields();

void Apply(const Setting& setting, Draft* draft);

// Fills in what follows from other settings: vocabulary, positions, steps, warm-up, layers. Problems are added with the
// place of the field; checks that rest on a field in `failed` (whose value could not be read) are left out. True when
// the cell is sound.
bool Resolve(const BoundDataset& dataset, const std::set<std::string>& failed, Draft* draft, ProblemList* problems);

Estimate EstimateRun(const domain::RunConfig& config);

}  // namespace entrain::sweep
