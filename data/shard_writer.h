// Writes one split's token shards, a new one every so many tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/hash.h"
#include "data/dataset_manifest.h"
#include "data/file_writer.h"

namespace entrain::data {

// What a writer needs to go on after its process was killed.
struct ShardWriterState {
  std::vector<ShardInfo> shards;       // finished
  std::optional<ShardInfo> unfinished;  // with the hashes of its full blocks
};

class ShardWriter {
 public:
  ShardWriter(std::string dir, Split split, std::int64_t token_bytes, std::int64_t max_shard_tokens)
      : dir_(std::move(dir)), split_(split), token_bytes_(token_bytes), max_shard_tokens_(max_shard_tokens) {}

  // Goes on where Checkpoint was called; what was written since is dropped. Before the first Append.
  absl::Status Resume(ShardWriterState state);
  // One document with its end; documents are not cut at shard ends.
  absl::Status Append(const std::uint32_t* tokens, std::size_t count);
  // Everything appended so far is durable, and the state leads back to it.
  absl::StatusOr<ShardWriterState> Checkpoint();
  // Completes the last shard. Gives the shards, in order.
  absl::StatusOr<std::vector<ShardInfo>> Finish();
  std::int64_t tokens() const { return total_tokens_; }

 private:
  // A file whose content is hashed by block as it is written.
  class HashedFile {
   public:
    explicit HashedFile(FileWriter file) : file_(std::move(file)) {}
    // An existing file with the hashes of its full blocks behind a header.
    static absl::StatusOr<HashedFile> Resume(const std::string& path, std::int64_t header_bytes, std::int64_t size,
                                             std::vector<std::string> hashes);
    absl::Status Append(std::string_view bytes);
    absl::StatusOr<std::vector<std::string>> Finish();
    FileWriter& file() { return file_; }
    const std::vector<std::string>& hashes() const { return hashes_; }

   private:
    FileWriter file_;
    std::string block_;
    std::vector<std::string> hashes_;
  };

  absl::Status StartShard();
  absl::Status FinishShard();

  std::string dir_;
  Split split_;
  std::int64_t token_bytes_;
  std::int64_t max_shard_tokens_;
  std::int64_t total_tokens_ = 0;
  ShardInfo current_;
  std::optional<HashedFile> token_file_;
  std::optional<HashedFile> document_file_;
  std::vector<ShardInfo> shards_;
};

}  // namespace entrain::data
