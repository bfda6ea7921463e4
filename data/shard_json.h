// Shards as dataset.json and the record of an unfinished preparation hold them.
#pragma once

#include <nlohmann/json.hpp>

#include "absl/status/statusor.h"
#include "data/dataset_manifest.h"

namespace entrain::data {

nlohmann::json ShardToJson(const ShardInfo& shard);
// Throws nlohmann's exceptions for missing fields; INVALID_ARGUMENT for impossible values.
absl::StatusOr<ShardInfo> ShardFromJson(const nlohmann::json& object);
// Also that it is not empty and has all its hashes.
absl::StatusOr<ShardInfo> WholeShardFromJson(const nlohmann::json& object);

}  // namespace entrain::data
