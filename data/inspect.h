// What a prepared dataset holds, for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset_manifest.h"

namespace entrain::data {

struct SplitSummary {
  std::int64_t shards = 0;
  std::int64_t tokens = 0;
  std::int64_t documents = 0;
};

struct SampleDocument {
  Split split = Split::kTrain;
  std::int64_t index = 0;
  std::int64_t tokens = 0;
  std::vector<std::int32_t> first_tokens;
  std::string text;  // of the first tokens; empty when the dataset keeps no tokeniser
};

struct Inspection {
  DatasetManifest manifest;
  SplitSummary train;
  SplitSummary validation;
  std::int64_t stored_bytes = 0;
  bool has_tokenizer = false;
  // Of documents all over the dataset: their tokens turned into text and back.
  RoundTrip tokens_round_trip;
  std::int64_t unknown_tokens = 0;  // in them, of the tokeniser's unknown piece
  std::int64_t tried_tokens = 0;
  std::int64_t tried_bytes = 0;  // of their text
  std::vector<SampleDocument> samples;
};

struct InspectOptions {
  int samples = 2;                  // documents shown, spread over each split
  std::int64_t sample_tokens = 64;  // of each
};

// Reads every block and compares it with its recorded hash first; damage is told with path and offset.
absl::StatusOr<Inspection> Inspect(const std::string& dir, const InspectOptions& options);

}  // namespace entrain::data
