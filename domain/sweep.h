// A checked, expanded sweep: what the coordinator admits.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "domain/early_stopping.h"
#include "domain/run_config.h"

namespace entrain::domain {

// One cell of a sweep, ready to run.
struct RunSpec {
  CellId cell;
  std::string label;    // unique in its sweep, e.g. "SM+G seed=2"
  std::string variant;  // e.g. "SM+G"
  std::map<std::string, std::string> axes;
  // The canonical run configuration; every attempt gets these bytes.
  std::string config_json;
  // Copied from the configuration, so that no one has to parse it to schedule, judge or show the run.
  Resources resources;
  std::int64_t steps = 0;
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t context = 0;
  std::int64_t parameters = 0;
  DatasetRef dataset;
  HealthRules health;
  RetryLimits retries;
  RunLimits limits;
  EarlyStopping early_stopping;  // the sweep's
  // What a rescue makes of it: at most one, which has none itself.
  std::vector<RunSpec> rescue;
  friend bool operator==(const RunSpec&, const RunSpec&) = default;
};

struct SweepSpec {
  std::string name;
  std::string owner;
  // The text as submitted, kept for people and for the content check of the idempotency key.
  std::string yaml;
  // Higher goes first.
  std::int64_t priority = 0;
  // Runs of this sweep that may hold slots at once; 0: no cap.
  std::int64_t max_concurrent_runs = 0;
  EarlyStopping early_stopping;
  std::vector<RunSpec> runs;
  friend bool operator==(const SweepSpec&, const SweepSpec&) = default;
};

}  // namespace entrain::domain
