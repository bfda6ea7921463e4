// A corpus as a sequence of records (documents that still are what the file holds), read in batches that do not depend on where reading
// began: a batch starts where the one before it ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "data/corpus.h"
#include "data/input_stream.h"
#include "data/token_file.h"

namespace entrain::data {

// One text file is one document, cut at line ends into several when it is larger than this.
inline constexpr std::int64_t kMaxDocumentBytes = 1 << 20;
// A longer line of JSON is refused, so that memory stays bounded.
inline constexpr std::int64_t kMaxLineBytes = 256 << 20;

struct Record {
  FileKind kind = FileKind::kText;
  std::int32_t token_bytes = 2;  // of kTokens
  std::size_t file = 0;
  std::int64_t line = 0;    // of kJsonLines, from 1
  std::int64_t offset = 0;  // in the file's unpacked content
  std::size_t begin = 0;    // in the batch's bytes
  std::size_t length = 0;
};

// Where the next record begins.
struct Position {
  std::size_t file = 0;
  std::int64_t offset = 0;
  std::int64_t line = 1;
};

struct Batch {
  std::string bytes;
  std::vector<Record> records;
  Position after;
  std::string_view BytesOf(const Record& record) const { return std::string_view(bytes).substr(record.begin, record.length); }
};

struct RecordLimits {
  std::int64_t document_bytes = kMaxDocumentBytes;  // of text; of tokens half as many tokens
  std::int64_t end_of_document = -1;                // the token that ends a document in token shards; -1: none does
};

class RecordReader {
 public:
  // Sets kinds that are not known yet as it reads (a file with a NUL byte or invalid UTF-8 is binary and left out). The corpus outlives
  // the reader.
  RecordReader(Corpus* corpus, const RecordLimits& limits, const Position& start)
      : corpus_(corpus), limits_(limits), next_(start) {}

  // False at the end of the corpus. Errors name the file and the offset or line.
  absl::StatusOr<bool> Next(Batch* batch);

 private:
  absl::StatusOr<bool> OpenFile();
  absl::StatusOr<bool> IsTextFile(const CorpusFile& file);
  absl::Status OpenTokens(const CorpusFile& file);
  void CloseFile();
  // More of the file at hand; false at its end.
  absl::StatusOr<bool> Fill();
  std::string_view AtHand() const { return std::string_view(buffer_).substr(head_); }
  // Each adds the next record, if there is one; false at the end of the file.
  absl::StatusOr<bool> TakeText(Batch* batch);
  absl::StatusOr<bool> TakeLine(Batch* batch);
  absl::StatusOr<bool> TakeTokens(Batch* batch);
  void Take(std::size_t bytes, std::size_t kept_bytes, Batch* batch);

  Corpus* const corpus_;
  const RecordLimits limits_;
  Position next_;
  std::unique_ptr<InputStream> stream_;
  TokenFileHeader token_header_;
  std::string buffer_;
  std::size_t head_ = 0;  // what is before it is used up
  bool at_end_ = false;
};

}  // namespace entrain::data
