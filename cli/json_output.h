// The JSON of --output json: names of the wire's fields, numbers as numbers, what is not finite or not known as null, times as
// ISO 8601 in UTC.
#pragma once

#include "entrain/v1/sweep_service.pb.h"
#include "nlohmann/json.hpp"

namespace entrain::cli {

nlohmann::json ToJson(const v1::SweepSummary& sweep);
nlohmann::json ToJson(const v1::RunSummary& run);
nlohmann::json ToJson(const v1::Sweep& sweep);
nlohmann::json ToJson(const v1::RunDetail& run);
nlohmann::json ToJson(const v1::WorkerSummary& worker);
nlohmann::json ToJson(const v1::PoolSummary& pool);

}  // namespace entrain::cli
