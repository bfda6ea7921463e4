// Segments of the event stream: written by one process, read and deleted by another.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::attempt {
namespace {

constexpr std::string_view kSuffix = ".jsonl";
constexpr std::size_t kReadBytes = 1 << 18;
// A line longer than this is damage: a step of 10,000 heads has about 100 KB.
constexpr std::size_t kMaxLineBytes = 64 << 20;

std::string SegmentPath(const std::string& folder, std::uint64_t segment) {
  char name[32];
  std::snprintf(name, sizeof(name), "/%08llu", static_cast<unsigned long long>(segment));
  return StrCat(folder, name, kSuffix);
}

// Numbers of the segments there, ascending.
absl::StatusOr<std::vector<std::uint64_t>> ListSegments(const std::string& folder) {
  std::vector<std::uint64_t> segments;
  std::error_code error;
  std::filesystem::directory_iterator entries(folder, error);
  if (error) return ErrnoStatus(error.value(), "list", folder);
  for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (!name.ends_with(kSuffix)) continue;
    const char* digits_end = name.data() + name.size() - kSuffix.size();
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), digits_end, number);
    if (parsed.ec == std::errc() && parsed.ptr == digits_end && number > 0) segments.push_back(number);
    if (error) return ErrnoStatus(error.value(), "list", folder);
  }
  std::sort(segments.begin(), segments.end());
  return segments;
}

class SegmentFile {
 public:
  explicit SegmentFile(std::string path) : path_(std::move(path)), fd_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
    open_error_ = errno;
  }
  ~SegmentFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  SegmentFile(const SegmentFile&) = delete;
  SegmentFile& operator=(const SegmentFile&) = delete;

  // The line that begins at `begin`, without its newline; nullopt when it has none yet.
  absl::StatusOr<std::optional<std::string_view>> Line(std::uint64_t begin) {
    if (fd_ < 0) return ErrnoStatus(open_error_, "open", path_);
    Seek(begin);
    std::size_t searched = 0;
    for (;;) {
      const std::string_view rest = std::string_view(buffer_).substr(begin - buffer_begin_);
      const std::size_t newline = rest.find('\n', searched);
      if (newline != std::string_view::npos) return rest.substr(0, newline);
      searched = rest.size();
      if (searched > kMaxLineBytes) return absl::DataLossError(StrCat(path_, ": a line has no end at byte ", begin));
      ENTRAIN_ASSIGN_OR_RETURN(const bool grew, Fill());
      if (!grew) return std::nullopt;
    }
  }

  // Counts from 1; only for messages.
  std::int64_t LineNumber(std::uint64_t begin) const {
    const absl::StatusOr<std::string> text = ReadFile(path_);
    if (!text.ok()) return 0;
    return 1 + std::count(text->begin(), text->begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(begin, text->size())), '\n');
  }
  const std::string& path() const { return path_; }

 private:
  // Forgets what lies before `begin`.
  void Seek(std::uint64_t begin) {
    if (begin < buffer_begin_ || begin > buffer_begin_ + buffer_.size()) {
      buffer_.clear();
      buffer_begin_ = begin;
    } else if (begin - buffer_begin_ > kReadBytes) {
      buffer_.erase(0, begin - buffer_begin_);
      buffer_begin_ = begin;
    }
  }

  absl::StatusOr<bool> Fill() {
    const std::size_t old_size = buffer_.size();
    buffer_.resize(old_size + kReadBytes);
    ssize_t count = 0;
    do {
      count = ::pread(fd_, buffer_.data() + old_size, kReadBytes, static_cast<off_t>(buffer_begin_ + old_size));
    } while (count < 0 && errno == EINTR);
    const int error = errno;
    buffer_.resize(old_size + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0) return ErrnoStatus(error, "read", path_);
    return count > 0;
  }

  std::string path_;
  int fd_;
  int open_error_ = 0;
  std::string buffer_;
  std::uint64_t buffer_begin_ = 0;
};

constexpr std::uint64_t SegmentOf(std::uint64_t offset) { return offset >> 32; }
constexpr std::uint64_t ByteOf(std::uint64_t offset) { return offset & 0xffffffffULL; }
constexpr std::uint64_t Offset(std::uint64_t segment, std::uint64_t byte) { return segment << 32 | byte; }

}  // namespace

EventWriter::EventWriter(const AttemptFolder& folder, std::int64_t segment_bytes)
    : folder_(folder.Path("events")), segment_bytes_(segment_bytes) {}

EventWriter::~EventWriter() {
  if (fd_ >= 0) ::close(fd_);
}

// The first segment of a writer is always a new one: a torn line that an earlier process left stays torn.
absl::Status EventWriter::OpenNextSegment() {
  if (segment_ == 0) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> segments, ListSegments(folder_));
    if (!segments.empty()) segment_ = static_cast<std::int64_t>(segments.back());
  }
  const std::string path = SegmentPath(folder_, static_cast<std::uint64_t>(segment_) + 1);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "create", path);
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  ++segment_;
  written_ = 0;
  return absl::OkStatus();
}

absl::Status EventWriter::Append(const AttemptEvent& event) {
  if (fd_ < 0 || written_ >= segment_bytes_) ENTRAIN_RETURN_IF_ERROR(OpenNextSegment());
  const std::string line = EncodeEvent(event) + "\n";
  ssize_t count = 0;
  do {
    count = ::write(fd_, line.data(), line.size());
  } while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(line.size())) {
    written_ += count;
    return absl::OkStatus();
  }
  // A short write is what a full disk gives first. The part is taken back, so that no later line continues it.
  const int error = count < 0 ? errno : ENOSPC;
  if (::ftruncate(fd_, written_) != 0) {
    ::close(fd_);
    fd_ = -1;
  }
  return ErrnoStatus(error, "append to", SegmentPath(folder_, static_cast<std::uint64_t>(segment_)));
}

EventReader::EventReader(const AttemptFolder& folder, std::uint64_t start_offset)
    : folder_(folder.Path("events")), offset_(start_offset) {}

absl::StatusOr<std::vector<EventReader::Entry>> EventReader::Read(std::size_t max_entries) {
  std::vector<Entry> entries;
  // Listed before reading: a segment that has a successor in this list gets no more lines.
  ENTRAIN_ASSIGN_OR_RETURN(const std::vector<std::uint64_t> segments, ListSegments(folder_));
  for (const std::uint64_t segment : segments) {
    if (segment < SegmentOf(offset_)) continue;
    if (segment > SegmentOf(offset_)) offset_ = Offset(segment, 0);
    SegmentFile file(SegmentPath(folder_, segment));
    while (entries.size() < max_entries) {
      ENTRAIN_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, file.Line(ByteOf(offset_)));
      if (!line) break;
      absl::StatusOr<AttemptEvent> event = DecodeEvent(*line);
      if (!event.ok()) {
        if (!entries.empty()) return entries;  // the next call names the damage
        return absl::DataLossError(StrCat(file.path(), ":", file.LineNumber(ByteOf(offset_)), ": ",
                                          std::string(event.status().message())));
      }
      offset_ = Offset(segment, ByteOf(offset_) + line->size() + 1);
      entries.push_back({*std::move(event), offset_});
    }
    if (entries.size() >= max_entries) break;
  }
  return entries;
}

absl::Status EventReader::DeleteThrough(std::uint64_t offset) {
  ENTRAIN_ASSIGN_OR_RETURN(std::vector<std::uint64_t> segments, ListSegments(folder_));
  if (segments.empty()) return absl::OkStatus();
  segments.pop_back();  // the writer may be in it
  for (const std::uint64_t segment : segments) {
    if (segment > SegmentOf(offset)) break;
    const std::string path = SegmentPath(folder_, segment);
    if (segment == SegmentOf(offset)) {
      struct stat info {};
      if (::stat(path.c_str(), &info) != 0) return ErrnoStatus(errno, "stat", path);
      if (static_cast<std::uint64_t>(info.st_size) > ByteOf(offset)) break;
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoStatus(errno, "delete", path);
  }
  return absl::OkStatus();
}

}  // namespace entrain::attempt
