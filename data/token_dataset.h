// Prepared data: memory-mapped token shards with document boundaries, split into training and held-out parts by
// document hash.
//
//   <dir>/dataset.json   format version, name, content hash, tokeniser, vocabulary size, shards with counts and hashes
//   <dir>/train-00000.tokens, validation-00000.tokens   header, then little-endian uint16 or uint32 tokens
//   <dir>/train-00000.documents                         uint64 offset in the shard where each document starts
//   <dir>/tokenizer.json | tokenizer.model              when the tokeniser has a file
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "domain/run_config.h"

namespace entrain::data {

enum class Split { kTrain, kValidation };

class TokenDataset {
 public:
  // Checks dataset.json and every shard's header and size, and of datasets up to 256 MiB the content too; a damaged or
  // truncated shard is refused with its path and offset.
  static absl::StatusOr<TokenDataset> Open(const std::string& dir);
  ~TokenDataset();
  TokenDataset(TokenDataset&&) noexcept;
  TokenDataset& operator=(TokenDataset&&) noexcept;

  const domain::DatasetRef& ref() const;
  std::int64_t vocab_size() const;
  std::int64_t TokenCount(Split split) const;
  std::int64_t DocumentCount(Split split) const;
  // Tokens [begin, end) of the split's stream that its document `index` holds, its end token included. DATA_LOSS when the recorded
  // boundaries cannot be.
  struct Span {
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };
  absl::StatusOr<Span> Document(Split split, std::int64_t index) const;
  // Reads everything and compares it with the recorded hashes; names the path and offset of the first damage.
  absl::Status Verify() const;
  // Copies tokens [begin, begin + count) of the split's stream; the range must lie inside it.
  void Read(Split split, std::int64_t begin, std::int64_t count, std::int32_t* out) const;

 private:
  struct Impl;
  explicit TokenDataset(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Which window of the training stream the `index`-th training sequence of a run reads: a pure function of (seed,
// index). The stream is cut into windows of `context` + 1 tokens that overlap by one; every epoch is a permutation of
// all windows.
class SequenceOrder {
 public:
  // INVALID_ARGUMENT when the split holds fewer than context + 1 tokens.
  static absl::StatusOr<SequenceOrder> Create(std::int64_t token_count, std::int64_t context, std::uint64_t seed);
  // First token of the window.
  std::int64_t Begin(std::int64_t index) const;
  std::int64_t windows() const { return windows_; }

 private:
  SequenceOrder(std::int64_t windows, std::int64_t context, std::uint64_t seed)
      : windows_(windows), context_(context), seed_(seed) {}
  std::int64_t windows_;
  std::int64_t context_;
  std::uint64_t seed_;
};

}  // namespace entrain::data
