// The files of a data source, and what each of them holds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::data {

// Of a whole file; kept as one letter each in a preparation's record.
enum class FileKind : char { kUnknown = '?', kText = 't', kBinary = 'b', kJsonLines = 'j', kTokens = 'k' };

struct CorpusFile {
  std::string path;
  std::int64_t bytes = 0;
  std::int64_t modified_ns = 0;
  FileKind kind = FileKind::kUnknown;
};

struct CorpusOptions {
  std::string path;                  // a folder (walked in name order) or one file
  std::vector<std::string> include;  // file name patterns; empty: every file
  // "auto", "text", "jsonl", "tokens". Automatic: JSON lines by their ending (.jsonl, .ndjson; .json when the file or its pattern was named
  // and its first line is a whole object); token shards when every file ends in .bin and was named, is a train.bin or begins as llm.c's
  // do; else text. Endings are those before .gz or .zst.
  std::string format = "auto";
};

struct Corpus {
  std::vector<CorpusFile> files;
  std::int64_t total_bytes = 0;  // as stored, packed or not
  bool single_file = false;
};

// Hidden entries and linked folders are left out. NOT_FOUND names the path.
absl::StatusOr<Corpus> ListCorpus(const CorpusOptions& options);

}  // namespace entrain::data
