#include "data/text_source.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = 1 << 20;
constexpr std::int64_t kSingleFilePieces = 64;
constexpr std::int64_t kMinPieceBytes = 4096;

class InputFile {
 public:
  explicit InputFile(const std::string& path)
      : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)), error_(errno) {}
  ~InputFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  // Appends the next bytes; false at the end.
  absl::StatusOr<bool> ReadInto(std::string* buffer) {
    if (fd_ < 0) return ErrnoStatus(error_, "open", path_);
    const std::size_t old = buffer->size();
    buffer->resize(old + kReadBytes);
    ssize_t count = 0;
    do {
      count = ::read(fd_, buffer->data() + old, kReadBytes);
    } while (count < 0 && errno == EINTR);
    const int error = errno;
    buffer->resize(old + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0) return ErrnoStatus(error, "read", path_);
    return count > 0;
  }

 private:
  const std::string& path_;
  int fd_;
  int error_;
};

absl::StatusOr<bool> IsText(const std::string& path) {
  InputFile file(path);
  TextCheck check;
  std::string buffer;
  for (;;) {
    buffer.clear();
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, file.ReadInto(&buffer));
    if (!more) return check.Complete();
    if (!check.Feed(buffer)) return false;
  }
}

bool Matches(const fs::path& relative, const std::vector<std::string>& include) {
  if (include.empty()) return true;
  return std::any_of(include.begin(), include.end(), [&](const std::string& pattern) {
    const std::string subject =
        pattern.find('/') == std::string::npos ? relative.filename().string() : relative.string();
    return ::fnmatch(pattern.c_str(), subject.c_str(), 0) == 0;
  });
}

// The last place at most `limit` where the text may be cut: after a line end, else between characters.
std::size_t CutPoint(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text.size();
  const std::size_t line_end = text.substr(0, limit).rfind('\n');
  if (line_end != std::string_view::npos) return line_end + 1;
  std::size_t cut = limit;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return cut == 0 ? limit : cut;
}

std::size_t CharacterCut(std::string_view text, std::size_t limit) {
  std::size_t cut = std::min(limit, text.size());
  while (cut > 0 && cut < text.size() && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return cut;
}

}  // namespace

bool TextCheck::Feed(std::string_view bytes) {
  for (const char character : bytes) {
    const auto byte = static_cast<unsigned char>(character);
    if (pending_ > 0) {
      if (byte < low_ || byte > high_) return ok_ = false;
      low_ = 0x80;
      high_ = 0xBF;
      --pending_;
    } else if (byte >= 0xC2 && byte <= 0xDF) {
      pending_ = 1;
    } else if (byte >= 0xE0 && byte <= 0xEF) {
      pending_ = 2;
      if (byte == 0xE0) low_ = 0xA0;
      if (byte == 0xED) high_ = 0x9F;
    } else if (byte >= 0xF0 && byte <= 0xF4) {
      pending_ = 3;
      if (byte == 0xF0) low_ = 0x90;
      if (byte == 0xF4) high_ = 0x8F;
    } else if (byte == 0 || byte >= 0x80) {
      return ok_ = false;
    }
  }
  return ok_;
}

absl::StatusOr<TextSource> TextSource::Open(const std::string& path, const std::vector<std::string>& include,
                                            std::int64_t max_bytes) {
  std::error_code error;
  const fs::file_status info = fs::status(path, error);
  if (!fs::exists(info)) return absl::NotFoundError(StrCat("data source ", path, " does not exist"));
  TextSource source;
  source.max_bytes_ = max_bytes;
  if (fs::is_regular_file(info)) {
    source.files_.push_back({path});
    source.total_bytes_ = static_cast<std::int64_t>(fs::file_size(path, error));
    const std::int64_t used = max_bytes > 0 ? std::min(max_bytes, source.total_bytes_) : source.total_bytes_;
    source.document_bytes_ = std::clamp(used / kSingleFilePieces, kMinPieceBytes, kMaxDocumentBytes);
  } else if (fs::is_directory(info)) {
    const fs::path root(path);
    fs::recursive_directory_iterator entries(root, fs::directory_options::skip_permission_denied, error);
    if (error) return ErrnoStatus(error.value(), "list", path);
    for (; entries != fs::recursive_directory_iterator(); entries.increment(error)) {
      if (error) return ErrnoStatus(error.value(), "list", path);
      const bool hidden = entries->path().filename().string().starts_with(".");
      if (hidden) {
        entries.disable_recursion_pending();
      } else if (entries->is_regular_file(error) && Matches(entries->path().lexically_relative(root), include)) {
        source.files_.push_back({entries->path().string()});
        source.total_bytes_ += static_cast<std::int64_t>(entries->file_size(error));
      }
    }
    std::sort(source.files_.begin(), source.files_.end(), [](const File& a, const File& b) { return a.path < b.path; });
  } else {
    return absl::InvalidArgumentError(StrCat("data source ", path, " is neither a folder nor a file"));
  }
  if (max_bytes > 0) source.total_bytes_ = std::min(source.total_bytes_, max_bytes);
  return source;
}

std::int64_t TextSource::binary_files() const {
  return std::count_if(files_.begin(), files_.end(), [](const File& file) { return file.kind == Kind::kBinary; });
}

absl::Status TextSource::Visit(const std::function<absl::Status(std::string_view)>& visit) {
  std::int64_t left = max_bytes_ > 0 ? max_bytes_ : INT64_MAX;
  for (File& file : files_) {
    if (left <= 0) break;
    if (file.kind == Kind::kUnknown) {
      ENTRAIN_ASSIGN_OR_RETURN(const bool text, IsText(file.path));
      file.kind = text ? Kind::kText : Kind::kBinary;
    }
    if (file.kind == Kind::kText) ENTRAIN_RETURN_IF_ERROR(VisitFile(file.path, &left, visit));
  }
  return absl::OkStatus();
}

absl::Status TextSource::VisitFile(const std::string& path, std::int64_t* left,
                                   const std::function<absl::Status(std::string_view)>& visit) const {
  InputFile file(path);
  std::string buffer;
  const auto limit = static_cast<std::size_t>(document_bytes_);
  const auto emit = [&](std::string_view document) {
    document = document.substr(0, CharacterCut(document, static_cast<std::size_t>(*left)));
    *left = document.empty() ? 0 : *left - static_cast<std::int64_t>(document.size());
    return document.empty() ? absl::OkStatus() : visit(document);
  };
  for (;;) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool more, file.ReadInto(&buffer));
    std::string_view text = buffer;
    while (*left > 0 && !text.empty() && (text.size() > limit || !more)) {
      const std::size_t cut = CutPoint(text, limit);
      ENTRAIN_RETURN_IF_ERROR(emit(text.substr(0, cut)));
      text.remove_prefix(cut);
    }
    if (!more || *left <= 0) return absl::OkStatus();
    buffer.erase(0, buffer.size() - text.size());
  }
}

}  // namespace entrain::data
