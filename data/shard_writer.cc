#include "data/shard_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/status_macros.h"
#include "base/strings.h"

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

absl::Status ShardWriter::Append(const std::vector<std::uint32_t>& tokens) {
  if (token_file_ && current_.tokens >= max_shard_tokens_) ENTRAIN_RETURN_IF_ERROR(FinishShard());
  if (!token_file_) ENTRAIN_RETURN_IF_ERROR(StartShard());
  std::string bytes;
  AppendLittleEndian(static_cast<std::uint64_t>(current_.tokens), 8, &bytes);
  ENTRAIN_RETURN_IF_ERROR(document_file_->Append(bytes));
  bytes.clear();
  for (std::uint32_t token : tokens) AppendLittleEndian(token, token_bytes_, &bytes);
  ENTRAIN_RETURN_IF_ERROR(token_file_->Append(bytes));
  const auto count = static_cast<std::int64_t>(tokens.size());
  current_.tokens += count;
  total_tokens_ += count;
  ++current_.documents;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<ShardInfo>> ShardWriter::Finish() {
  if (token_file_) ENTRAIN_RETURN_IF_ERROR(FinishShard());
  return std::move(shards_);
}

}  // namespace entrain::data
