// Text (or other programs' token shards) -> token shards.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/run_config.h"

namespace entrain::data {

struct PrepareOptions {
  std::string source;                 // a folder (walked in name order) or one file; .gz and .zst are unpacked
  std::vector<std::string> include;   // file name patterns; empty: every file
  std::string format = "auto";        // see data/corpus.h
  std::string field = "text";         // of JSON lines; a dot leads into an object
  std::string tokenizer = "bytes";    // see data/tokenizer.h; "bytes" ends every document with byte 0
  std::string name;                   // of the dataset; default: the source's last path component
  std::int64_t max_bytes = 0;         // of input text; 0: everything
  double validation_fraction = 0.05;  // of documents, by hash
  // Of token shards without a tokeniser of their own. 0: GPT-2's 50257.
  std::int64_t vocab_size = 0;
  // The token that ends a document in token shards. -1: none; kDefaultEnd: GPT-2's 50256 where the vocabulary is GPT-2's, else none.
  static constexpr std::int64_t kDefaultEnd = -2;
  std::int64_t end_of_document = kDefaultEnd;
  int threads = 0;                             // 0: every core; the result does not depend on it
  std::int64_t checkpoint_bytes = 256 << 20;   // of text between records from which a killed preparation goes on
};

struct PrepareProgress {
  const char* phase = "";  // "reading", "training the tokenizer", "tokenising"
  std::int64_t documents = 0;
  std::int64_t bytes = 0;
  std::int64_t total_bytes = 0;
  bool resumed = false;
};

struct PreparedDataset {
  domain::DatasetRef ref;
  std::string dir;
  std::int64_t vocab_size = 0;
  std::int64_t train_tokens = 0;
  std::int64_t validation_tokens = 0;
  std::int64_t documents = 0;
  std::int64_t skipped_binary_files = 0;
  bool reused = false;  // it was there already
};

// Writes `<root>/<hash>/`; nothing is visible there before it is complete. The same source and options give the same
// hash, whatever the number of threads. After kill -9 the same call goes on where the last record stands and gives the same bytes; an
// error leaves nothing. NOT_FOUND: no such source or tokeniser; INVALID_ARGUMENT: no text in it (every file empty or binary), or the
// file, line or offset, and field of what cannot be used.
absl::StatusOr<PreparedDataset> Prepare(const PrepareOptions& options, const std::string& root,
                                        const std::function<void(const PrepareProgress&)>& on_progress = {});

// OK when these options can be used, as far as that is known without reading the source.
absl::Status CheckPrepareOptions(const PrepareOptions& options);

// Where `path: python-stdlib` leads: the newest Python standard library of this machine. NOT_FOUND says where it was
// looked for.
absl::StatusOr<std::string> FindPythonStdlib();

}  // namespace entrain::data
