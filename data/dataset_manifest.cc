#include "data/dataset_manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/shard_json.h"

namespace entrain::data {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "ENTRTOK1";

std::string LittleEndian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

// What decides the tokens that a run sees.
json ContentOf(const DatasetManifest& manifest) {
  json shards = json::array();
  for (const ShardInfo& shard : manifest.shards) shards.push_back(ShardToJson(shard));
  return {{"format", kDatasetFormat},
          {"tokenizer", manifest.tokenizer},
          {"tokenizer_file", manifest.tokenizer_file},
          {"tokenizer_hash", manifest.tokenizer_hash},
          {"vocab_size", manifest.vocab_size},
          {"end_of_document", manifest.end_of_document},
          {"block_bytes", kBlockBytes},
          {"shards", shards}};
}

absl::StatusOr<DatasetManifest> ParseObject(const json& object) {
  if (object.at("format") != kDatasetFormat) {
    return absl::InvalidArgumentError(
        StrCat("format ", object.at("format").dump(), " is not one that this program reads (", kDatasetFormat, ")"));
  }
  if (object.at("block_bytes") != kBlockBytes) return absl::InvalidArgumentError("impossible block_bytes");
  DatasetManifest manifest;
  manifest.ref = {object.at("name").get<std::string>(), object.at("hash").get<std::string>()};
  manifest.tokenizer = object.at("tokenizer").get<std::string>();
  manifest.tokenizer_file = object.at("tokenizer_file").get<std::string>();
  manifest.tokenizer_hash = object.at("tokenizer_hash").get<std::string>();
  manifest.vocab_size = object.at("vocab_size").get<std::int64_t>();
  manifest.end_of_document = object.at("end_of_document").get<std::int64_t>();
  manifest.source_bytes = object.at("source_bytes").get<std::int64_t>();
  manifest.skipped_binary_files = object.at("skipped_binary_files").get<std::int64_t>();
  manifest.prepared_from = object.value("prepared_from", "");
  if (object.contains("round_trip")) {
    manifest.round_trip.documents = object["round_trip"].at("documents").get<std::int64_t>();
    manifest.round_trip.exact = object["round_trip"].at("exact").get<std::int64_t>();
  }
  for (const json& item : object.at("shards")) {
    ENTRAIN_ASSIGN_OR_RETURN(ShardInfo shard, WholeShardFromJson(item));
    manifest.shards.push_back(std::move(shard));
  }
  if (manifest.vocab_size <= 0 || manifest.shards.empty())
    return absl::InvalidArgumentError("no vocabulary or no shards");
  if (ContentHash(manifest) != manifest.ref.hash) {
    return absl::InvalidArgumentError(StrCat("its content does not fit its hash ", manifest.ref.hash));
  }
  return manifest;
}

}  // namespace

std::string ContentHash(const DatasetManifest& manifest) { return HashHex(ContentOf(manifest).dump()); }

std::string ToJson(const DatasetManifest& manifest) {
  json object = ContentOf(manifest);
  object["name"] = manifest.ref.name;
  object["hash"] = manifest.ref.hash;
  object["source_bytes"] = manifest.source_bytes;
  object["skipped_binary_files"] = manifest.skipped_binary_files;
  object["prepared_from"] = manifest.prepared_from;
  object["round_trip"] = {{"documents", manifest.round_trip.documents}, {"exact", manifest.round_trip.exact}};
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

absl::StatusOr<DatasetManifest> ParseManifest(std::string_view text, const std::string& path) {
  try {
    absl::StatusOr<DatasetManifest> manifest = ParseObject(json::parse(text));
    if (manifest.ok()) return manifest;
    return absl::InvalidArgumentError(StrCat(path, ": ", std::string(manifest.status().message())));
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(StrCat(path, ": ", error.what()));
  }
}

absl::StatusOr<DatasetManifest> ReadDatasetManifest(const std::string& dir) {
  const std::string path = StrCat(dir, "/dataset.json");
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParseManifest(text, path);
}

std::string EncodeTokenHeader(std::int64_t token_bytes, std::int64_t count) {
  return StrCat(kMagic, LittleEndian(static_cast<std::uint64_t>(token_bytes), 4), LittleEndian(0, 4),
                LittleEndian(static_cast<std::uint64_t>(count), 8));
}

absl::Status CheckTokenFile(std::string_view bytes, const ShardInfo& shard, const std::string& path) {
  const std::string header = EncodeTokenHeader(shard.token_bytes, shard.tokens);
  const std::string_view found = bytes.substr(0, header.size());
  const auto different = std::mismatch(found.begin(), found.end(), header.begin()).first - found.begin();
  if (different < static_cast<std::ptrdiff_t>(found.size())) {
    return absl::InvalidArgumentError(StrCat(path, ": offset ", different, ": damaged header"));
  }
  const std::int64_t expected = kTokenHeaderBytes + shard.tokens * shard.token_bytes;
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (size < expected) {
    return absl::InvalidArgumentError(
        StrCat(path, ": offset ", size, ": truncated, ", expected, " bytes are expected"));
  }
  if (size > expected) {
    return absl::InvalidArgumentError(StrCat(path, ": offset ", expected, ": ", size - expected, " bytes too many"));
  }
  return absl::OkStatus();
}

}  // namespace entrain::data
