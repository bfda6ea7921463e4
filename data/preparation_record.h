// How far a preparation came: what a process that was killed left for the next one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "data/record_reader.h"
#include "data/shard_writer.h"
#include "data/split_rule.h"

namespace entrain::data {

// What the first reading found.
struct ScanResult {
  SplitRule split;
  std::string kinds;  // a letter a file
  std::int64_t documents = 0;
  std::int64_t bytes = 0;                // of text
  std::int64_t last_document_bytes = 0;  // the last document may be cut by max_bytes
  std::int64_t binary_files = 0;
  std::string chain;  // of the documents' hashes, in order
};

struct WriteState {
  Position at;
  std::int64_t documents = 0;
  std::int64_t bytes = 0;
  std::string chain;
  RoundTrip round_trip;
  ShardWriterState train;
  ShardWriterState validation;
};

struct PreparationRecord {
  ScanResult scan;
  std::string tokenizer_file;
  WriteState write;
};

std::string ToJson(const PreparationRecord& record);
// INVALID_ARGUMENT when the text is no record of this version.
absl::StatusOr<PreparationRecord> ParsePreparationRecord(std::string_view text);

}  // namespace entrain::data
