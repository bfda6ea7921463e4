#include "worker/agent/log_tail.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "worker/agent/text.h"

namespace entrain::agent {
namespace {

constexpr std::size_t kChunkBytes = 128 << 10;
constexpr std::size_t kMaxLineBytes = 4096;
constexpr std::uint64_t kMaxBacklogBytes = 1 << 20;

std::uint64_t FileSize(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

std::string ReadAt(int fd, std::uint64_t offset, std::size_t bytes) {
  std::string text(bytes, '\0');
  const ssize_t count = ::pread(fd, text.data(), bytes, static_cast<off_t>(offset));
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  return text;
}

}  // namespace

LogTail::LogTail(std::string path, const v1::AttemptKey& key, std::uint64_t acknowledged_offset)
    : path_(std::move(path)), acknowledged_offset_(acknowledged_offset), sent_offset_(acknowledged_offset) {
  *chunk_.mutable_key() = key;
}

void LogTail::SkipBacklog(int fd, std::uint64_t size) {
  while (size - sent_offset_ > kMaxBacklogBytes) {
    const std::string old = ReadAt(fd, sent_offset_, kChunkBytes);
    if (old.empty()) return;
    const std::size_t end = old.rfind('\n');
    const std::int64_t lines = std::count(old.begin(), old.end(), '\n');
    dropped_ += lines;
    dropped_taken_ += lines;
    sent_offset_ += end == std::string::npos ? old.size() : end + 1;
    acknowledged_offset_ = sent_offset_;
  }
}

bool LogTail::FillChunk(bool ended) {
  const std::uint64_t size = FileSize(path_);
  if (size <= sent_offset_) return false;
  const int fd = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  SkipBacklog(fd, size);
  std::string text = ReadAt(fd, sent_offset_, kChunkBytes);
  ::close(fd);
  const std::size_t newline = text.rfind('\n');
  // A line longer than a whole chunk is sent in pieces.
  if (newline != std::string::npos) text.resize(newline + 1);
  else if (!ended && text.size() < kChunkBytes) return false;
  chunk_.clear_lines();
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    chunk_.add_lines(ValidUtf8(ReadableLogLine(rest.substr(0, end)), kMaxLineBytes));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  chunk_.set_dropped_lines(static_cast<std::uint64_t>(dropped_));
  chunk_.set_last_offset(sent_offset_ + text.size());
  return true;
}

const v1::LogChunk* LogTail::NextChunk(bool ended) {
  if (!chunk_ready_ && !in_flight_) chunk_ready_ = FillChunk(ended);
  return chunk_ready_ ? &chunk_ : nullptr;
}

void LogTail::ChunkSent() {
  sent_offset_ = chunk_.last_offset();
  dropped_ = 0;
  chunk_ready_ = false;
  in_flight_ = true;
}

void LogTail::Rewind() {
  sent_offset_ = acknowledged_offset_;
  chunk_ready_ = false;
  in_flight_ = false;
}

void LogTail::Acknowledge(std::uint64_t offset) {
  acknowledged_offset_ = std::max(acknowledged_offset_, offset);
  in_flight_ = false;
}

bool LogTail::Delivered() const { return acknowledged_offset_ >= FileSize(path_); }

std::int64_t LogTail::TakeDropped() {
  const std::int64_t taken = dropped_taken_;
  dropped_taken_ = 0;
  return taken;
}

}  // namespace entrain::agent
