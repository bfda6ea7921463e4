#include "data/shard_json.h"

#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

using nlohmann::json;

// A plain name inside the dataset's folder.
bool IsFileName(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name != "." && name != "..";
}

std::size_t BlockCount(std::int64_t bytes) { return static_cast<std::size_t>((bytes + kBlockBytes - 1) / kBlockBytes); }

}  // namespace

absl::StatusOr<ShardInfo> ShardFromJson(const json& object) {
  ShardInfo shard;
  const std::string split = object.at("split").get<std::string>();
  if (split != "train" && split != "validation") return absl::InvalidArgumentError(StrCat("unknown split ", split));
  shard.split = split == "train" ? Split::kTrain : Split::kValidation;
  shard.file = object.at("file").get<std::string>();
  shard.documents_file = object.at("documents_file").get<std::string>();
  shard.tokens = object.at("tokens").get<std::int64_t>();
  shard.documents = object.at("documents").get<std::int64_t>();
  shard.token_bytes = object.at("token_bytes").get<std::int64_t>();
  shard.token_blocks = object.at("token_blocks").get<std::vector<std::string>>();
  shard.document_blocks = object.at("document_blocks").get<std::vector<std::string>>();
  const bool known = shard.tokens >= 0 && shard.tokens < (std::int64_t{1} << 48) && shard.documents >= 0 &&
                     shard.documents <= shard.tokens && (shard.token_bytes == 2 || shard.token_bytes == 4);
  if (known && IsFileName(shard.file) && IsFileName(shard.documents_file)) return shard;
  return absl::InvalidArgumentError(StrCat("impossible numbers for shard ", shard.file));
}

absl::StatusOr<ShardInfo> WholeShardFromJson(const json& object) {
  ENTRAIN_ASSIGN_OR_RETURN(ShardInfo shard, ShardFromJson(object));
  const bool whole = shard.documents > 0 && shard.token_blocks.size() == BlockCount(shard.tokens * shard.token_bytes) &&
                     shard.document_blocks.size() == BlockCount(shard.documents * 8);
  if (whole) return shard;
  return absl::InvalidArgumentError(StrCat("impossible numbers for shard ", shard.file));
}

json ShardToJson(const ShardInfo& shard) {
  return {{"split", ToString(shard.split)},         {"file", shard.file},
          {"documents_file", shard.documents_file}, {"tokens", shard.tokens},
          {"documents", shard.documents},           {"token_bytes", shard.token_bytes},
          {"token_blocks", shard.token_blocks},     {"document_blocks", shard.document_blocks}};
}

std::string_view ToString(Split split) { return split == Split::kTrain ? "train" : "validation"; }

}  // namespace entrain::data
