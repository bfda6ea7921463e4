#include "data/dataset_manifest.h"

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

using nlohmann::json;

constexpr std::string_view kMagic = "ENTRTOK1";

std::string LittleEndian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

json ShardToJson(const ShardInfo& shard) {
  return {{"split", ToString(shard.split)},         {"file", shard.file},
          {"documents_file", shard.documents_file}, {"tokens", shard.tokens},
          {"documents", shard.documents},           {"token_bytes", shard.token_bytes},
          {"token_blocks", shard.token_blocks},     {"document_blocks", shard.document_blocks}};
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

// A plain name inside the dataset's folder.
bool IsFileName(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name != "." && name != "..";
}

std::size_t BlockCount(std::int64_t bytes) { return static_cast<std::size_t>((bytes + kBlockBytes - 1) / kBlockBytes); }

absl::StatusOr<ShardInfo> ParseShard(const json& object) {
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
  const bool sizes = shard.tokens > 0 && shard.tokens < (std::int64_t{1} << 48) && shard.documents > 0 &&
                     shard.documents <= shard.tokens && (shard.token_bytes == 2 || shard.token_bytes == 4);
  if (!sizes || !IsFileName(shard.file) || !IsFileName(shard.documents_file) ||
      shard.token_blocks.size() != BlockCount(shard.tokens * shard.token_bytes) ||
      shard.document_blocks.size() != BlockCount(shard.documents * 8)) {
    return absl::InvalidArgumentError(StrCat("impossible numbers for shard ", shard.file));
  }
  return shard;
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
  for (const json& item : object.at("shards")) {
    ENTRAIN_ASSIGN_OR_RETURN(ShardInfo shard, ParseShard(item));
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

std::string_view ToString(Split split) { return split == Split::kTrain ? "train" : "validation"; }

std::string ContentHash(const DatasetManifest& manifest) { return HashHex(ContentOf(manifest).dump()); }

std::string ToJson(const DatasetManifest& manifest) {
  json object = ContentOf(manifest);
  object["name"] = manifest.ref.name;
  object["hash"] = manifest.ref.hash;
  object["source_bytes"] = manifest.source_bytes;
  object["skipped_binary_files"] = manifest.skipped_binary_files;
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
