#include "data/shard_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/mapped_file.h"

namespace entrain::data {
namespace {

void AppendLittleEndian(std::uint64_t value, std::int64_t bytes, std::string* out) {
  for (std::int64_t i = 0; i < bytes; ++i) *out += static_cast<char>(value >> (8 * i));
}

std::string ShardName(Split split, std::size_t index, std::string_view ending) {
  std::array<char, 16> number;
  std::snprintf(number.data(), number.size(), "-%05zu.", index);
  return StrCat(ToString(split), std::string_view(number.data()), ending);
}

}  // namespace

absl::Status ShardWriter::HashedFile::Append(std::string_view bytes) {
  ENTRAIN_RETURN_IF_ERROR(file_.Append(bytes));
  while (!bytes.empty()) {
    const std::size_t room = static_cast<std::size_t>(kBlockBytes) - block_.size();
    block_.append(bytes.substr(0, room));
    bytes.remove_prefix(std::min(room, bytes.size()));
    if (block_.size() == static_cast<std::size_t>(kBlockBytes)) {
      hashes_.push_back(HashHex(block_));
      block_.clear();
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ShardWriter::HashedFile> ShardWriter::HashedFile::Resume(const std::string& path, std::int64_t header_bytes,
                                                                        std::int64_t size, std::vector<std::string> hashes) {
  const std::int64_t full = header_bytes + static_cast<std::int64_t>(hashes.size()) * kBlockBytes;
  ENTRAIN_ASSIGN_OR_RETURN(const MappedFile old, MappedFile::Open(path));
  if (static_cast<std::int64_t>(old.bytes().size()) < size || size < full || size - full >= kBlockBytes) {
    return absl::DataLossError(StrCat(path, " does not hold what was written"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(FileWriter writer, FileWriter::Reopen(path, size));
  HashedFile file(std::move(writer));
  file.block_ = old.bytes().substr(static_cast<std::size_t>(full), static_cast<std::size_t>(size - full));
  file.hashes_ = std::move(hashes);
  return file;
}

absl::StatusOr<std::vector<std::string>> ShardWriter::HashedFile::Finish() {
  if (!block_.empty()) hashes_.push_back(HashHex(block_));
  ENTRAIN_RETURN_IF_ERROR(file_.Finish());
  return std::move(hashes_);
}

absl::Status ShardWriter::StartShard() {
  current_ = {};
  current_.split = split_;
  current_.token_bytes = token_bytes_;
  current_.file = ShardName(split_, shards_.size(), "tokens");
  current_.documents_file = ShardName(split_, shards_.size(), "documents");
  ENTRAIN_ASSIGN_OR_RETURN(FileWriter tokens, FileWriter::Create(StrCat(dir_, "/", current_.file)));
  ENTRAIN_ASSIGN_OR_RETURN(FileWriter documents, FileWriter::Create(StrCat(dir_, "/", current_.documents_file)));
  // The count is known at the end.
  ENTRAIN_RETURN_IF_ERROR(tokens.Append(EncodeTokenHeader(token_bytes_, 0)));
  token_file_.emplace(std::move(tokens));
  document_file_.emplace(std::move(documents));
  return absl::OkStatus();
}

absl::Status ShardWriter::FinishShard() {
  ENTRAIN_RETURN_IF_ERROR(token_file_->file().WriteAt(0, EncodeTokenHeader(token_bytes_, current_.tokens)));
  ENTRAIN_ASSIGN_OR_RETURN(current_.token_blocks, token_file_->Finish());
  ENTRAIN_ASSIGN_OR_RETURN(current_.document_blocks, document_file_->Finish());
  token_file_.reset();
  document_file_.reset();
  shards_.push_back(std::move(current_));
  return absl::OkStatus();
}

absl::Status ShardWriter::Resume(ShardWriterState state) {
  shards_ = std::move(state.shards);
  for (const ShardInfo& shard : shards_) total_tokens_ += shard.tokens;
  if (!state.unfinished) return absl::OkStatus();
  current_ = *std::move(state.unfinished);
  total_tokens_ += current_.tokens;
  const auto open = [&](const std::string& file, std::int64_t header_bytes, std::int64_t bytes, std::vector<std::string>* hashes) {
    return HashedFile::Resume(StrCat(dir_, "/", file), header_bytes, header_bytes + bytes, std::move(*hashes));
  };
  ENTRAIN_ASSIGN_OR_RETURN(HashedFile tokens,
                           open(current_.file, kTokenHeaderBytes, current_.tokens * token_bytes_, &current_.token_blocks));
  ENTRAIN_ASSIGN_OR_RETURN(HashedFile documents, open(current_.documents_file, 0, current_.documents * 8, &current_.document_blocks));
  token_file_.emplace(std::move(tokens));
  document_file_.emplace(std::move(documents));
  return absl::OkStatus();
}

absl::StatusOr<ShardWriterState> ShardWriter::Checkpoint() {
  ShardWriterState state{shards_, std::nullopt};
  if (!token_file_) return state;
  ENTRAIN_RETURN_IF_ERROR(token_file_->file().Sync());
  ENTRAIN_RETURN_IF_ERROR(document_file_->file().Sync());
  state.unfinished = current_;
  state.unfinished->token_blocks = token_file_->hashes();
  state.unfinished->document_blocks = document_file_->hashes();
  return state;
}

absl::Status ShardWriter::Append(const std::uint32_t* tokens, std::size_t count) {
  if (token_file_ && current_.tokens >= max_shard_tokens_) ENTRAIN_RETURN_IF_ERROR(FinishShard());
  if (!token_file_) ENTRAIN_RETURN_IF_ERROR(StartShard());
  std::string bytes;
  AppendLittleEndian(static_cast<std::uint64_t>(current_.tokens), 8, &bytes);
  ENTRAIN_RETURN_IF_ERROR(document_file_->Append(bytes));
  bytes.resize(count * static_cast<std::size_t>(token_bytes_));
  // Little-endian, as is every machine that this program runs on.
  if (token_bytes_ == 4) {
    std::memcpy(bytes.data(), tokens, bytes.size());
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      const auto narrow = static_cast<std::uint16_t>(tokens[i]);
      std::memcpy(bytes.data() + 2 * i, &narrow, 2);
    }
  }
  ENTRAIN_RETURN_IF_ERROR(token_file_->Append(bytes));
  current_.tokens += static_cast<std::int64_t>(count);
  total_tokens_ += static_cast<std::int64_t>(count);
  ++current_.documents;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ShardInfo>> ShardWriter::Finish() {
  if (token_file_) ENTRAIN_RETURN_IF_ERROR(FinishShard());
  return std::move(shards_);
}

}  // namespace entrain::data
