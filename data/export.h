// Token shards -> the files that nanoGPT and llm.c train on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/token_dataset.h"
#include "data/token_file.h"

namespace entrain::data {

struct ExportOptions {
  std::string dir;  // made when it is not there
  TokenFileFormat format = TokenFileFormat::kNanoGpt;
  std::int64_t shard_tokens = 100'000'000;  // of llm.c's files; nanoGPT has one a split
};

struct ExportedFile {
  std::string path;
  std::int64_t tokens = 0;
};

// The streams as they are: train.bin and val.bin, or NAME_train_000000.bin, NAME_val_000000.bin, ... Every file appears whole or not at all.
// ALREADY_EXISTS when one is there; INVALID_ARGUMENT when nanoGPT's uint16 cannot hold the vocabulary.
absl::StatusOr<std::vector<ExportedFile>> Export(const TokenDataset& dataset, const ExportOptions& options);

}  // namespace entrain::data
