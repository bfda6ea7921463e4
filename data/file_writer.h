// A file written in sequence, removed again unless it was finished.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain::data {

class FileWriter {
 public:
  // Creates or empties the file.
  static absl::StatusOr<FileWriter> Create(const std::string& path);
  // Goes on with an existing file behind its first `size` bytes; the rest is dropped. DATA_LOSS when it is shorter.
  static absl::StatusOr<FileWriter> Reopen(const std::string& path, std::int64_t size);
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;

  // Buffered. RESOURCE_EXHAUSTED when the disk is full.
  absl::Status Append(std::string_view bytes);
  // Overwrites bytes that were appended before.
  absl::Status WriteAt(std::int64_t offset, std::string_view bytes);
  // What was appended so far is durable.
  absl::Status Sync();
  // Flushes, fsyncs and closes; the file stays.
  absl::Status Finish();
  std::int64_t size() const { return flushed_ + static_cast<std::int64_t>(buffer_.size()); }

 private:
  FileWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::Status Flush();
  absl::Status WriteOut(std::string_view bytes);

  std::string path_;
  int fd_ = -1;
  std::int64_t flushed_ = 0;
  std::string buffer_;
};

}  // namespace entrain::data
