// Text -> token shards.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/run_config.h"

namespace entrain::data {

struct PrepareOptions {
  std::string source;                 // a folder (walked in name order) or one file
  std::vector<std::string> include;   // file name patterns; empty: every file that is text
  std::string tokenizer = "bytes";    // see data/tokenizer.h; "bytes" ends every document with byte 0
  std::string name;                   // of the dataset; default: the source's last path component
  std::int64_t max_bytes = 0;         // of input text; 0: everything
  double validation_fraction = 0.05;  // of documents, by hash
};

struct PrepareProgress {
  std::int64_t documents = 0;
  std::int64_t bytes = 0;
  std::int64_t total_bytes = 0;
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
// hash. NOT_FOUND: no such source; INVALID_ARGUMENT: no text in it (every file empty or binary).
absl::StatusOr<PreparedDataset> Prepare(const PrepareOptions& options, const std::string& root,
                                        const std::function<void(const PrepareProgress&)>& on_progress = {});

// Where `path: python-stdlib` leads: the newest Python standard library of this machine. NOT_FOUND says where it was
// looked for.
absl::StatusOr<std::string> FindPythonStdlib();

}  // namespace entrain::data
