#include "data/corpus.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/input_stream.h"
#include "data/token_file.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

bool MatchesAny(const fs::path& relative, const std::vector<std::string>& include) {
  if (include.empty()) return true;
  return std::any_of(include.begin(), include.end(), [&](const std::string& pattern) {
    const std::string subject =
        pattern.find('/') == std::string::npos ? relative.filename().string() : relative.string();
    return ::fnmatch(pattern.c_str(), subject.c_str(), 0) == 0;
  });
}

absl::Status AddFile(const std::string& path, Corpus* corpus) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
  CorpusFile file;
  file.path = path;
  file.bytes = info.st_size;
  file.modified_ns = static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
  corpus->total_bytes += file.bytes;
  corpus->files.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Walk(const CorpusOptions& options, Corpus* corpus) {
  std::error_code error;
  const fs::path root(options.path);
  fs::recursive_directory_iterator entries(root, fs::directory_options::skip_permission_denied, error);
  if (error) return ErrnoStatus(error.value(), "list", options.path);
  for (; entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    if (error) return ErrnoStatus(error.value(), "list", options.path);
    if (entries->path().filename().string().starts_with(".")) {
      entries.disable_recursion_pending();
    } else if (entries->is_regular_file(error) && MatchesAny(entries->path().lexically_relative(root), options.include)) {
      ENTRAIN_RETURN_IF_ERROR(AddFile(entries->path().string(), corpus));
    }
  }
  if (error) return ErrnoStatus(error.value(), "list", options.path);
  std::sort(corpus->files.begin(), corpus->files.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
  return absl::OkStatus();
}

bool BeginsAsLlmC(const std::string& path) {
  std::array<char, 4> first{};
  std::ifstream file(path, std::ios::binary);
  return file.read(first.data(), first.size()) && IsLlmC({first.data(), first.size()});
}

// Whether the first line is an object of its own: the beginning of JSON lines, not of a document over several lines.
bool FirstLineIsObject(const std::string& path) {
  constexpr std::size_t kLookBytes = 1 << 20;
  const auto stream = InputStream::Open(path);
  std::string text;
  while (stream.ok() && text.find('\n') == std::string::npos && text.size() < kLookBytes) {
    const auto more = (*stream)->ReadInto(&text);
    if (!more.ok() || !*more) break;
  }
  const std::string line = text.substr(0, text.find('\n'));
  const std::size_t last = line.find_last_not_of(" \t\r");
  return !line.empty() && line.front() == '{' && line[last] == '}';
}

FileKind KindByName(const std::string& path, bool asked_for) {
  const std::string name = UnpackedName(path);
  if (name.ends_with(".jsonl") || name.ends_with(".ndjson")) return FileKind::kJsonLines;
  // In a folder of programs such a file is a setting or a notebook, text like the rest.
  if (asked_for && name.ends_with(".json") && FirstLineIsObject(path)) return FileKind::kJsonLines;
  return FileKind::kUnknown;
}

bool HoldsTokens(const CorpusFile& file) { return file.path.ends_with(".bin"); }

void SetKinds(const CorpusOptions& options, Corpus* corpus) {
  auto& files = corpus->files;
  bool tokens = options.format == "tokens";
  if (options.format == "auto" && !files.empty()) {
    const auto is_tokens = [](const CorpusFile& file) { return HoldsTokens(file) && file.bytes > 0; };
    tokens = std::all_of(files.begin(), files.end(), is_tokens);
    // A folder of programs and pictures may have its .bin files too.
    tokens = tokens && (corpus->single_file || !options.include.empty() ||
                        std::any_of(files.begin(), files.end(), [](const auto& file) { return BeginsAsLlmC(file.path); }) ||
                        std::any_of(files.begin(), files.end(), [](const auto& file) {
                          return fs::path(file.path).filename() == "train.bin";
                        }));
  }
  for (CorpusFile& file : files) {
    if (tokens) {
      file.kind = FileKind::kTokens;
    } else if (options.format == "jsonl") {
      file.kind = FileKind::kJsonLines;
    } else if (options.format == "auto") {
      file.kind = KindByName(file.path, corpus->single_file || !options.include.empty());
    }
  }
}

}  // namespace

absl::StatusOr<Corpus> ListCorpus(const CorpusOptions& options) {
  std::error_code error;
  const fs::file_status info = fs::status(options.path, error);
  if (!fs::exists(info)) return absl::NotFoundError(StrCat("data source ", options.path, " does not exist"));
  Corpus corpus;
  if (fs::is_regular_file(info)) {
    corpus.single_file = true;
    ENTRAIN_RETURN_IF_ERROR(AddFile(options.path, &corpus));
  } else if (fs::is_directory(info)) {
    ENTRAIN_RETURN_IF_ERROR(Walk(options, &corpus));
  } else {
    return absl::InvalidArgumentError(StrCat("data source ", options.path, " is neither a folder nor a file"));
  }
  SetKinds(options, &corpus);
  return corpus;
}

}  // namespace entrain::data
