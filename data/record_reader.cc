#include "data/record_reader.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/text_check.h"

namespace entrain::data {
namespace {

constexpr std::size_t kBatchBytes = 256 << 10;
constexpr std::size_t kMaxUsedUpBytes = 4 << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

// The last place at most `limit` where the text may be cut: after a line end, else between characters.
std::size_t LineCut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text.size();
  const std::size_t line_end = text.substr(0, limit).rfind('\n');
  if (line_end != std::string_view::npos) return line_end + 1;
  const std::size_t cut = CharacterCut(text, limit);
  return cut == 0 ? limit : cut;
}

// The tokens up to and with the first `end`; all where there is none.
template <typename Token>
std::size_t TokensThrough(std::string_view bytes, std::int64_t end) {
  const std::size_t count = bytes.size() / sizeof(Token);
  for (std::size_t i = 0; end >= 0 && i < count; ++i) {
    Token token;
    std::memcpy(&token, bytes.data() + i * sizeof(Token), sizeof(Token));
    if (static_cast<std::int64_t>(token) == end) return i + 1;
  }
  return count;
}

}  // namespace

absl::StatusOr<bool> RecordReader::Next(Batch* batch) {
  batch->bytes.clear();
  batch->records.clear();
  while (next_.file < corpus_->files.size() && batch->bytes.size() < kBatchBytes) {
    if (!stream_) {
      ENTRAIN_ASSIGN_OR_RETURN(const bool used, OpenFile());
      if (!used) {
        CloseFile();
        continue;
      }
    }
    const FileKind kind = corpus_->files[next_.file].kind;
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, kind == FileKind::kJsonLines ? TakeLine(batch)
                                              : kind == FileKind::kTokens  ? TakeTokens(batch)
                                                                           : TakeText(batch));
    if (!more) CloseFile();
  }
  batch->after = next_;
  return !batch->records.empty();
}

void RecordReader::CloseFile() {
  stream_.reset();
  buffer_.clear();
  head_ = 0;
  at_end_ = false;
  next_ = {next_.file + 1, 0, 1};
}

absl::StatusOr<bool> RecordReader::Fill() {
  if (at_end_) return false;
  if (head_ > kMaxUsedUpBytes) {
    buffer_.erase(0, head_);
    head_ = 0;
  }
  ENTRAIN_ASSIGN_OR_RETURN(const bool more, stream_->ReadInto(&buffer_));
  at_end_ = !more;
  return more;
}

// False for a file that holds no documents.
absl::StatusOr<bool> RecordReader::OpenFile() {
  CorpusFile& file = corpus_->files[next_.file];
  if (file.kind == FileKind::kBinary) return false;
  ENTRAIN_ASSIGN_OR_RETURN(stream_, InputStream::Open(file.path));
  if (file.kind == FileKind::kTokens) ENTRAIN_RETURN_IF_ERROR(OpenTokens(file));
  if (file.kind == FileKind::kUnknown) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool text, IsTextFile(file));
    file.kind = text ? FileKind::kText : FileKind::kBinary;
    if (!text) return false;
  }
  if (next_.offset > 0) ENTRAIN_RETURN_IF_ERROR(stream_->Skip(next_.offset));
  return true;
}

absl::StatusOr<bool> RecordReader::IsTextFile(const CorpusFile& file) {
  // A small file is read once.
  if (next_.offset == 0) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool first, Fill());
    TextCheck check;
    if (first && !check.Feed(AtHand())) return false;
    ENTRAIN_ASSIGN_OR_RETURN(const bool second, Fill());
    if (!second) return check.Complete();
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<InputStream> stream, InputStream::Open(file.path));
  TextCheck check;
  std::string part;
  for (;;) {
    part.clear();
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, stream->ReadInto(&part));
    if (!more) return check.Complete();
    if (!check.Feed(part)) return false;
  }
}

absl::Status RecordReader::OpenTokens(const CorpusFile& file) {
  if (UnpackedName(file.path) != file.path) {
    return absl::InvalidArgumentError(StrCat(file.path, ": token shards must not be packed"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<InputStream> head, InputStream::Open(file.path));
  std::string first;
  ENTRAIN_RETURN_IF_ERROR(head->ReadInto(&first).status());
  ENTRAIN_ASSIGN_OR_RETURN(token_header_,
                           ReadTokenFileHeader(std::string_view(first).substr(0, kLlmCHeaderBytes), file.bytes, file.path));
  next_.offset = std::max(next_.offset, token_header_.header_bytes);
  return absl::OkStatus();
}

// Moves `bytes` on and keeps the first `kept_bytes` of them as a record, if any.
void RecordReader::Take(std::size_t bytes, std::size_t kept_bytes, Batch* batch) {
  if (kept_bytes > 0) {
    Record record;
    record.kind = corpus_->files[next_.file].kind;
    record.token_bytes = static_cast<std::int32_t>(token_header_.token_bytes);
    record.file = next_.file;
    record.line = next_.line;
    record.offset = next_.offset;
    record.begin = batch->bytes.size();
    record.length = kept_bytes;
    batch->bytes.append(AtHand().substr(0, kept_bytes));
    batch->records.push_back(record);
  }
  head_ += bytes;
  next_.offset += static_cast<std::int64_t>(bytes);
}

absl::StatusOr<bool> RecordReader::TakeText(Batch* batch) {
  const auto limit = static_cast<std::size_t>(limits_.document_bytes);
  while (AtHand().size() <= limit) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) break;
  }
  if (AtHand().empty()) return false;
  const std::size_t cut = LineCut(AtHand(), limit);
  Take(cut, cut, batch);
  return true;
}

absl::StatusOr<bool> RecordReader::TakeLine(Batch* batch) {
  std::size_t looked = 0;
  std::size_t end = std::string_view::npos;
  for (;;) {
    end = AtHand().find('\n', looked);
    if (end != std::string_view::npos) break;
    looked = AtHand().size();
    if (looked > static_cast<std::size_t>(kMaxLineBytes)) {
      return absl::InvalidArgumentError(StrCat(corpus_->files[next_.file].path, ":", next_.line, ": the line is longer than ",
                                               kMaxLineBytes >> 20, " MiB"));
    }
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) break;
  }
  if (AtHand().empty()) return false;
  std::size_t left = end == std::string_view::npos ? AtHand().size() : end + 1;
  if (next_.offset == 0 && AtHand().starts_with(kByteOrderMark)) {
    Take(kByteOrderMark.size(), 0, batch);
    left -= kByteOrderMark.size();
  }
  const std::string_view line = AtHand().substr(0, left);
  const std::size_t last = line.find_last_not_of(" \t\r\n");
  Take(left, last == std::string_view::npos ? 0 : last + 1, batch);
  ++next_.line;
  return true;
}

absl::StatusOr<bool> RecordReader::TakeTokens(Batch* batch) {
  const auto width = static_cast<std::size_t>(token_header_.token_bytes);
  // As many tokens as text of this size has at least.
  const std::size_t limit = static_cast<std::size_t>(limits_.document_bytes) / 2 * width;
  while (AtHand().size() < limit) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, Fill());
    if (!more) break;
  }
  const std::string_view tokens = AtHand().substr(0, limit);
  if (tokens.size() < width) return false;
  const std::size_t count = width == 2 ? TokensThrough<std::uint16_t>(tokens, limits_.end_of_document)
                                       : TokensThrough<std::uint32_t>(tokens, limits_.end_of_document);
  Take(count * width, count * width, batch);
  return true;
}

}  // namespace entrain::data
