#include "data/prepare.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/dataset_manifest.h"
#include "data/preparation.h"
#include "data/token_dataset.h"
#include "data/work_folder.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

std::string DefaultName(const std::string& source) {
  fs::path path = fs::path(source).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  const std::string name = path.filename().string();
  return name.empty() || name == "." || name == ".." ? "text" : name;
}

PreparedDataset Describe(const DatasetManifest& manifest, std::string dir) {
  PreparedDataset prepared;
  prepared.ref = manifest.ref;
  prepared.dir = std::move(dir);
  prepared.vocab_size = manifest.vocab_size;
  prepared.skipped_binary_files = manifest.skipped_binary_files;
  for (const ShardInfo& shard : manifest.shards) {
    (shard.split == Split::kTrain ? prepared.train_tokens : prepared.validation_tokens) += shard.tokens;
    prepared.documents += shard.documents;
  }
  return prepared;
}

// The dataset that the same source, unchanged since, and the same options gave before.
std::optional<DatasetManifest> FindPrepared(const std::string& root, const std::string& key) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root, error)) {
    if (entry.path().filename().string().starts_with(".")) continue;
    absl::StatusOr<DatasetManifest> manifest = ReadDatasetManifest(entry.path().string());
    if (manifest.ok() && manifest->prepared_from == key && TokenDataset::Open(entry.path().string()).ok()) return *std::move(manifest);
  }
  return std::nullopt;
}

absl::StatusOr<std::unique_ptr<Preparation>> Plan(const PrepareOptions& options, const std::function<void(const PrepareProgress&)>& on_progress) {
  ENTRAIN_ASSIGN_OR_RETURN(Corpus corpus, ListCorpus({options.source, options.include, options.format}));
  const bool trained = IsTrainedTokenizer(options.tokenizer);
  if (trained && !corpus.files.empty() && corpus.files.front().kind == FileKind::kTokens) {
    return absl::InvalidArgumentError(StrCat(options.source, " holds token shards; name the tokenizer that made them, not ", options.tokenizer));
  }
  std::unique_ptr<Tokenizer> tokenizer;
  if (!trained) {
    ENTRAIN_ASSIGN_OR_RETURN(tokenizer, OpenTokenizer(options.tokenizer));
  }
  return std::make_unique<Preparation>(options, std::move(corpus), std::move(tokenizer), on_progress);
}

}  // namespace

absl::Status CheckPrepareOptions(const PrepareOptions& options) {
  if (options.source.empty()) return absl::InvalidArgumentError("the data source's path is empty");
  if (options.max_bytes < 0) {
    return absl::InvalidArgumentError(StrCat("max_bytes must not be negative, is ", options.max_bytes));
  }
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    return absl::InvalidArgumentError(
        StrCat("validation_fraction must be at least 0 and below 1, is ", options.validation_fraction));
  }
  if (options.field.empty()) return absl::InvalidArgumentError("field: the name of JSON lines' text field is empty");
  for (const char* known : {"auto", "text", "jsonl", "tokens"}) {
    if (options.format == known) return CheckTokenizerName(options.tokenizer);
  }
  return absl::InvalidArgumentError(StrCat("unknown format \"", options.format, "\"; known: auto, text, jsonl, tokens"));
}

absl::StatusOr<PreparedDataset> Prepare(const PrepareOptions& options, const std::string& root,
                                        const std::function<void(const PrepareProgress&)>& on_progress) {
  ENTRAIN_RETURN_IF_ERROR(CheckPrepareOptions(options));
  PrepareOptions named = options;
  if (named.name.empty()) named.name = DefaultName(options.source);
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<Preparation> preparation, Plan(named, on_progress));
  ENTRAIN_ASSIGN_OR_RETURN(WorkFolder work, WorkFolder::Open(root, preparation->key()));
  // Also when another process made it while this one waited for the folder.
  if (const auto known = FindPrepared(root, preparation->key())) {
    PreparedDataset prepared = Describe(*known, StrCat(root, "/", known->ref.hash));
    prepared.reused = true;
    return prepared;
  }
  ENTRAIN_ASSIGN_OR_RETURN(const DatasetManifest manifest, preparation->Run(work.path()));
  PreparedDataset prepared = Describe(manifest, StrCat(root, "/", manifest.ref.hash));
  if (TokenDataset::Open(prepared.dir).ok()) {
    prepared.reused = true;
    return prepared;
  }
  // Something under our hash that does not open is damaged; what we just wrote replaces it.
  std::error_code error;
  fs::remove_all(prepared.dir, error);
  const absl::Status published = work.PublishAs(prepared.dir);
  if (published.ok()) return prepared;
  // Another process may have published the same content in between.
  if (!TokenDataset::Open(prepared.dir).ok()) return published;
  prepared.reused = true;
  return prepared;
}

absl::StatusOr<std::string> FindPythonStdlib() {
  std::vector<std::pair<int, std::string>> found;
  for (const std::string parent : {"/usr/lib", "/usr/local/lib"}) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(parent, error)) {
      const std::string name = entry.path().filename().string();
      int minor = 0;
      char rest = '\0';
      if (std::sscanf(name.c_str(), "python3.%d%c", &minor, &rest) != 1) continue;
      if (fs::exists(entry.path() / "os.py", error)) found.emplace_back(minor, entry.path().string());
    }
  }
  if (found.empty()) {
    return absl::NotFoundError(
        "no Python standard library under /usr/lib/python3.* or /usr/local/lib/python3.*; name a folder of "
        "text as data.path instead");
  }
  return std::max_element(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; })
      ->second;
}

}  // namespace entrain::data
