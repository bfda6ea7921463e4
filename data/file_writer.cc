#include "data/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::data {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

}  // namespace

absl::StatusOr<FileWriter> FileWriter::Create(const std::string& path) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return ErrnoStatus(errno, "create", path);
  return FileWriter(path, fd);
}

absl::StatusOr<FileWriter> FileWriter::Reopen(const std::string& path, std::int64_t size) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  FileWriter writer(path, fd);
  struct stat info {};
  if (::fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (info.st_size < size) return absl::DataLossError(StrCat(path, " has ", info.st_size, " bytes, ", size, " were written"));
  if (::ftruncate(fd, size) != 0 || ::lseek(fd, size, SEEK_SET) < 0) return ErrnoStatus(errno, "truncate", path);
  writer.flushed_ = size;
  return writer;
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      flushed_(other.flushed_),
      buffer_(std::move(other.buffer_)) {}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  // A device that was written to stays.
  struct stat info {};
  const bool regular = ::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode);
  ::close(fd_);
  if (regular) ::unlink(path_.c_str());
}

absl::Status FileWriter::Append(std::string_view bytes) {
  if (buffer_.size() + bytes.size() < kBufferBytes) {
    buffer_.append(bytes);
    return absl::OkStatus();
  }
  ENTRAIN_RETURN_IF_ERROR(Flush());
  return WriteOut(bytes);
}

absl::Status FileWriter::WriteAt(std::int64_t offset, std::string_view bytes) {
  ENTRAIN_RETURN_IF_ERROR(Flush());
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(written));
    offset += written;
  }
  return absl::OkStatus();
}

absl::Status FileWriter::Sync() {
  ENTRAIN_RETURN_IF_ERROR(Flush());
  return ::fsync(fd_) == 0 ? absl::OkStatus() : ErrnoStatus(errno, "fsync", path_);
}

absl::Status FileWriter::Finish() {
  ENTRAIN_RETURN_IF_ERROR(Sync());
  const int fd = std::exchange(fd_, -1);
  if (::close(fd) != 0) {
    const int error = errno;
    ::unlink(path_.c_str());
    return ErrnoStatus(error, "close", path_);
  }
  return absl::OkStatus();
}

absl::Status FileWriter::Flush() {
  ENTRAIN_RETURN_IF_ERROR(WriteOut(buffer_));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status FileWriter::WriteOut(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "write", path_);
    bytes.remove_prefix(static_cast<std::size_t>(written));
    flushed_ += written;
  }
  return absl::OkStatus();
}

}  // namespace entrain::data
