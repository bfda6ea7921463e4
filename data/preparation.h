// One preparation: reads the corpus twice, once to know it (which files are text, how many documents, where the splits part, what a
// tokeniser is trained on), once to tokenise it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/dataset_manifest.h"
#include "data/document_reader.h"
#include "data/preparation_record.h"
#include "data/prepare.h"
#include "data/text_sample.h"
#include "data/tokenizer.h"

namespace entrain::data {

class Preparation {
 public:
  // The options are checked and carry a name; `tokenizer` is null when it is to be trained.
  Preparation(const PrepareOptions& options, Corpus corpus, std::unique_ptr<Tokenizer> tokenizer,
              std::function<void(const PrepareProgress&)> on_progress);

  // Names the work: the same for the same options, files and tokeniser.
  const std::string& key() const { return key_; }
  // Writes the dataset into `dir`, going on from what a killed process left there.
  absl::StatusOr<DatasetManifest> Run(const std::string& dir);

 private:
  struct Document {
    std::uint64_t hash = 0;
    std::int64_t bytes = 0;
    std::size_t record = 0;
    std::size_t begin = 0;  // in `tokens`
    std::size_t count = 0;
  };
  // A batch as a worker leaves it.
  struct Tokenised {
    std::vector<Document> documents;
    std::vector<std::uint32_t> tokens;
    RoundTrip round_trip;
  };
  struct Writers;

  std::string MakeKey() const;
  void OpenWriters(const std::string& dir, std::optional<Writers>* writers) const;
  absl::Status Begin(const std::string& dir);
  bool TakeUp(const std::string& dir);
  absl::Status Scan();
  absl::StatusOr<bool> Observe(const Batch& batch, const std::vector<Document>& documents);
  absl::Status NoText() const;
  absl::Status TrainOnSample();
  absl::Status WriteAll(const std::string& dir, Writers* writers);
  absl::StatusOr<bool> Write(const std::string& dir, Batch* batch, const Tokenised& done, Writers* writers);
  absl::Status WriteCut(const Batch& batch, const Document& document, Tokenised* cut) const;
  absl::Status SaveRecord(const std::string& dir) const;

  absl::StatusOr<std::vector<Document>> Hash(const Batch& batch) const;
  absl::StatusOr<Tokenised> Tokenise(const Batch& batch) const;
  absl::Status TokeniseOne(const Record& record, std::string_view content, Tokenised* out, Document* document) const;
  Split SplitOf(const Record& record, const Document& document) const;
  void Tell(const char* phase, std::int64_t documents, std::int64_t bytes, std::int64_t total_bytes);

  bool of_tokens() const { return of_tokens_; }
  std::int64_t end_of_document() const;
  std::int64_t vocab_size() const;
  int threads() const;

  const PrepareOptions& options_;
  Corpus corpus_;
  const bool of_tokens_;
  std::vector<std::optional<Split>> named_splits_;  // of token shards, by file
  std::unique_ptr<Tokenizer> tokenizer_;            // null for token shards without one
  std::function<void(const PrepareProgress&)> on_progress_;
  RecordLimits limits_;
  std::string key_;
  std::optional<DocumentReader> reader_;
  TextSample sample_;
  std::size_t files_read_;  // by the first reading, before max_bytes ended it
  PreparationRecord record_;
  bool resumed_ = false;
};

}  // namespace entrain::data
