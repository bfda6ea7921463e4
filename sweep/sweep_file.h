// A sweep file as written: sections read and checked one by one, nothing expanded yet.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "sweep/draft.h"
#include "sweep/field.h"
#include "sweep/problem_list.h"
#include "sweep/sweep.h"
#include "sweep/yaml_tree.h"

namespace entrain::sweep {

struct Variant {
  std::string name;
  Place place;
  // The preset's first, then the variant's own.
  std::vector<Setting> settings;
};

struct Axis {
  std::string field;  // "train.seed"
  std::string label;  // "seed", or the whole path when two axes end alike
  Place place;
  std::vector<Value> values;
  std::vector<Place> value_places;
};

// A set of conditions that must all hold.
struct Rule {
  struct Condition {
    int axis = -1;                 // index into the axes; -1 is the variant's name
    std::set<std::string> values;  // as ToText gives them
  };
  Place place;
  std::vector<Condition> conditions;
};

struct SweepFile {
  domain::SweepSpec head;  // name, priority, max_concurrent_runs, early_stopping
  Place early_stopping_place;
  bool early_stopping_failed = false;  // a field of it could not be read
  DataSource data;
  std::vector<Setting> settings;  // of all variants
  std::vector<Variant> variants;
  std::vector<Axis> axes;
  Place axes_place;
  std::vector<Rule> exclude;
  std::vector<Rule> when;
  // Fields whose value could not be read, anywhere in the file; checks that rest on them would only confuse.
  std::set<std::string> failed;
};

// Top-level scalars and the data section, for the reference and the schema.
const std::vector<Field<domain::SweepSpec>>& HeadFields();
const std::vector<Field<DataSource>>& DataFields();
const std::vector<Field<domain::EarlyStopping>>& EarlyStoppingFields();

void ReadDataSection(const YamlNode& root, ProblemList* problems, DataSource* data);
void ReadSweepFile(const YamlNode& root, ProblemList* problems, SweepFile* file);

}  // namespace entrain::sweep
