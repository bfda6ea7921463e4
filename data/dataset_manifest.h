// dataset.json and the header of a token file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/token_dataset.h"

namespace entrain::data {

inline constexpr int kDatasetFormat = 1;
// Hashes are kept by block, so that damage is named to within one block.
inline constexpr std::int64_t kBlockBytes = 4 << 20;

struct ShardInfo {
  Split split = Split::kTrain;
  std::string file;            // "train-00000.tokens"
  std::string documents_file;  // "train-00000.documents"
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
  std::int64_t token_bytes = 2;
  std::vector<std::string> token_blocks;     // hash of every kBlockBytes of the tokens, header not counted
  std::vector<std::string> document_blocks;  // of the documents file
};

// Of documents tokenised and read back while the dataset was made.
struct RoundTrip {
  std::int64_t documents = 0;  // that were tried
  std::int64_t exact = 0;      // came back byte for byte
};

struct DatasetManifest {
  domain::DatasetRef ref;
  std::string tokenizer;
  std::string tokenizer_file;  // empty when it needs none
  std::string tokenizer_hash;
  std::int64_t vocab_size = 0;
  std::int64_t end_of_document = 0;  // -1: nothing ends a document
  std::int64_t source_bytes = 0;
  std::int64_t skipped_binary_files = 0;
  RoundTrip round_trip;
  // Names the source, as it was then, and the options: preparing the same again finds this dataset. Not part of the content.
  std::string prepared_from;
  std::vector<ShardInfo> shards;
};

// The hash over everything but names and what is only told to people.
std::string ContentHash(const DatasetManifest& manifest);
std::string ToJson(const DatasetManifest& manifest);
// INVALID_ARGUMENT names the path and what is wrong, also when the content hash does not fit.
absl::StatusOr<DatasetManifest> ParseManifest(std::string_view json, const std::string& path);

// <dir>/dataset.json.
absl::StatusOr<DatasetManifest> ReadDatasetManifest(const std::string& dir);

// "ENTRTOK1", uint32 token bytes, uint32 zero, uint64 count; little-endian.
inline constexpr std::int64_t kTokenHeaderBytes = 24;
std::string EncodeTokenHeader(std::int64_t token_bytes, std::int64_t count);
// Checks a mapped token file against what the manifest says.
absl::Status CheckTokenFile(std::string_view bytes, const ShardInfo& shard, const std::string& path);

std::string_view ToString(Split split);  // "train", "validation"

}  // namespace entrain::data
