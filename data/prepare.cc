#include "data/prepare.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "base/files.h"
#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/shard_writer.h"
#include "data/text_source.h"
#include "data/token_dataset.h"
#include "data/tokenizer.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxShardTokens = 1 << 28;
constexpr std::int64_t kProgressBytes = 1 << 20;
constexpr std::string_view kWorkPrefix = ".preparing-";

// A folder of our own under the root, locked while we live and removed with us; those of dead processes are removed
// too.
class WorkFolder {
 public:
  static absl::StatusOr<WorkFolder> Make(const std::string& root) {
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(root));
    RemoveAbandoned(root);
    static std::atomic<int> counter = 0;
    const std::string path = StrCat(root, "/", kWorkPrefix, ::getpid(), "-", counter++);
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(path));
    const int lock = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0) return ErrnoStatus(errno, "open", path);
    ::flock(lock, LOCK_EX | LOCK_NB);
    return WorkFolder(path, lock);
  }
  WorkFolder(WorkFolder&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}
  WorkFolder& operator=(WorkFolder&&) = delete;
  ~WorkFolder() {
    if (lock_ < 0) return;
    std::error_code error;
    fs::remove_all(path_, error);
    ::close(lock_);
  }
  const std::string& path() const { return path_; }

  // The folder becomes `target`, with everything in it durable.
  absl::Status PublishAs(const std::string& target) {
    ENTRAIN_RETURN_IF_ERROR(SyncPath(path_));
    if (::rename(path_.c_str(), target.c_str()) != 0) return ErrnoStatus(errno, "rename to", target);
    ::close(std::exchange(lock_, -1));
    return SyncPath(fs::path(target).parent_path().string());
  }

 private:
  WorkFolder(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}

  static void RemoveAbandoned(const std::string& root) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(root, error)) {
      if (!entry.path().filename().string().starts_with(kWorkPrefix)) continue;
      const int fd = ::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (fd < 0) continue;
      if (::flock(fd, LOCK_EX | LOCK_NB) == 0) fs::remove_all(entry.path(), error);
      ::close(fd);
    }
  }

  std::string path_;
  int lock_;
};

// Which split a document belongs to depends on its text alone. When the hashes leave a split empty, the document with
// the lowest (highest) hash is moved there.
class SplitRule {
 public:
  explicit SplitRule(double fraction) : fraction_(fraction) {}
  void Observe(std::string_view document) {
    const std::uint64_t hash = Hash64(document);
    lowest_ = documents_ == 0 ? hash : std::min(lowest_, hash);
    highest_ = documents_ == 0 ? hash : std::max(highest_, hash);
    ++documents_;
  }
  Split Of(std::string_view document) const {
    const std::uint64_t hash = Hash64(document);
    if (fraction_ <= 0.0 || lowest_ == highest_) return Split::kTrain;
    if (hash == lowest_) return Split::kValidation;
    if (hash == highest_) return Split::kTrain;
    return std::ldexp(static_cast<double>(hash >> 11), -53) < fraction_ ? Split::kValidation : Split::kTrain;
  }
  std::int64_t documents() const { return documents_; }

 private:
  double fraction_;
  std::uint64_t lowest_ = 0;
  std::uint64_t highest_ = 0;
  std::int64_t documents_ = 0;
};

class Preparation {
 public:
  Preparation(const PrepareOptions& options, TextSource source, std::function<void(const PrepareProgress&)> on_progress)
      : options_(options),
        source_(std::move(source)),
        split_(options.validation_fraction),
        on_progress_(std::move(on_progress)) {}

  absl::StatusOr<DatasetManifest> Run(const std::string& dir) {
    ENTRAIN_RETURN_IF_ERROR(Scan());
    ENTRAIN_ASSIGN_OR_RETURN(tokenizer_, MakeTokenizer(options_.tokenizer, [this](const DocumentVisitor& visit) {
                               return VisitTraining(visit);
                             }));
    DatasetManifest manifest;
    ENTRAIN_ASSIGN_OR_RETURN(manifest.shards, WriteShards(dir));
    manifest.tokenizer = options_.tokenizer;
    manifest.vocab_size = tokenizer_->vocab_size();
    manifest.end_of_document = tokenizer_->end_of_document();
    manifest.source_bytes = bytes_;
    manifest.skipped_binary_files = source_.binary_files();
    if (!tokenizer_->file_name().empty()) {
      manifest.tokenizer_file = tokenizer_->file_name();
      manifest.tokenizer_hash = HashHex(tokenizer_->file_bytes());
      ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(StrCat(dir, "/", manifest.tokenizer_file), tokenizer_->file_bytes()));
    }
    manifest.ref = {options_.name, ContentHash(manifest)};
    ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(StrCat(dir, "/dataset.json"), ToJson(manifest)));
    return manifest;
  }

 private:
  // The first reading finds binary files, the number of documents and the ends of the hash order.
  absl::Status Scan() {
    ENTRAIN_RETURN_IF_ERROR(source_.Visit([this](std::string_view document) {
      split_.Observe(document);
      scan_hash_.Update(document);
      bytes_ += static_cast<std::int64_t>(document.size());
      return absl::OkStatus();
    }));
    if (split_.documents() > 0) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat("no text in ", options_.source, ": ", source_.files(),
                                             source_.files() == 1 ? " file" : " files",
                                             options_.include.empty() ? "" : " that match the include patterns", ", ",
                                             source_.binary_files(), " of them binary, the others empty"));
  }

  absl::Status VisitTraining(const DocumentVisitor& visit) {
    return source_.Visit([&](std::string_view document) {
      return split_.Of(document) == Split::kTrain ? visit(document) : absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<ShardInfo>> WriteShards(const std::string& dir) {
    const std::int64_t token_bytes = tokenizer_->vocab_size() <= 65536 ? 2 : 4;
    ShardWriter train(dir, Split::kTrain, token_bytes, kMaxShardTokens);
    ShardWriter validation(dir, Split::kValidation, token_bytes, kMaxShardTokens);
    PrepareProgress progress{0, 0, bytes_};
    std::int64_t reported = 0;
    Hasher hash;
    std::vector<std::uint32_t> tokens;
    const absl::Status written = source_.Visit([&](std::string_view document) -> absl::Status {
      hash.Update(document);
      tokens.clear();
      ENTRAIN_RETURN_IF_ERROR(tokenizer_->Encode(document, &tokens));
      tokens.push_back(tokenizer_->end_of_document());
      ENTRAIN_RETURN_IF_ERROR((split_.Of(document) == Split::kTrain ? train : validation).Append(tokens));
      ++progress.documents;
      progress.bytes += static_cast<std::int64_t>(document.size());
      if (on_progress_ && (progress.bytes - reported >= kProgressBytes || progress.bytes == bytes_)) {
        on_progress_(progress);
        reported = progress.bytes;
      }
      return absl::OkStatus();
    });
    ENTRAIN_RETURN_IF_ERROR(written);
    if (hash.Hex() != scan_hash_.Hex()) {
      return absl::AbortedError(StrCat(options_.source, " changed while it was read; try again"));
    }
    ENTRAIN_ASSIGN_OR_RETURN(std::vector<ShardInfo> shards, train.Finish());
    ENTRAIN_ASSIGN_OR_RETURN(std::vector<ShardInfo> held_out, validation.Finish());
    std::move(held_out.begin(), held_out.end(), std::back_inserter(shards));
    return shards;
  }

  const PrepareOptions& options_;
  TextSource source_;
  SplitRule split_;
  std::function<void(const PrepareProgress&)> on_progress_;
  std::unique_ptr<Tokenizer> tokenizer_;
  Hasher scan_hash_;
  std::int64_t bytes_ = 0;
};

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

absl::Status CheckOptions(const PrepareOptions& options) {
  if (options.source.empty()) return absl::InvalidArgumentError("the data source's path is empty");
  if (options.max_bytes < 0) {
    return absl::InvalidArgumentError(StrCat("max_bytes must not be negative, is ", options.max_bytes));
  }
  if (!(options.validation_fraction >= 0.0 && options.validation_fraction < 1.0)) {
    return absl::InvalidArgumentError(
        StrCat("validation_fraction must be at least 0 and below 1, is ", options.validation_fraction));
  }
  return CheckTokenizerName(options.tokenizer);
}

}  // namespace

absl::StatusOr<PreparedDataset> Prepare(const PrepareOptions& options, const std::string& root,
                                        const std::function<void(const PrepareProgress&)>& on_progress) {
  ENTRAIN_RETURN_IF_ERROR(CheckOptions(options));
  PrepareOptions named = options;
  if (named.name.empty()) named.name = DefaultName(options.source);
  ENTRAIN_ASSIGN_OR_RETURN(TextSource source, TextSource::Open(options.source, options.include, options.max_bytes));
  ENTRAIN_ASSIGN_OR_RETURN(WorkFolder work, WorkFolder::Make(root));
  ENTRAIN_ASSIGN_OR_RETURN(const DatasetManifest manifest,
                           Preparation(named, std::move(source), on_progress).Run(work.path()));
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
