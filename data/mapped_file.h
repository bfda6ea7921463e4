// A whole file mapped for reading.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace entrain::data {

class MappedFile {
 public:
  // NOT_FOUND or the system's reason, with the path. An empty file maps to no bytes.
  static absl::StatusOr<MappedFile> Open(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::string& path() const { return path_; }
  std::string_view bytes() const { return {static_cast<const char*>(address_), size_}; }

 private:
  MappedFile() = default;
  std::string path_;
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace entrain::data
