// The documents of a folder or file of text, read in bounded memory.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain::data {

// One file's text is one document, cut at line ends into several when it is larger than this (a source that is a single
// file is cut finer, so that a part can be held out).
inline constexpr std::int64_t kMaxDocumentBytes = 1 << 20;

class TextSource {
 public:
  // Walks the folder in name order (hidden entries and linked folders are left out). NOT_FOUND names the path.
  static absl::StatusOr<TextSource> Open(const std::string& path, const std::vector<std::string>& include,
                                         std::int64_t max_bytes);

  // Every document in order; at most max_bytes of text, the last document cut at a character. Stops at and returns the
  // first error. The first call also finds the binary files (a NUL byte or invalid UTF-8).
  absl::Status Visit(const std::function<absl::Status(std::string_view document)>& visit);

  // Of the files that will be read; of those read so far, after Visit: those skipped because they are binary.
  std::int64_t total_bytes() const { return total_bytes_; }
  std::int64_t files() const { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t binary_files() const;

 private:
  enum class Kind : char { kUnknown, kText, kBinary };
  struct File {
    std::string path;
    Kind kind = Kind::kUnknown;
  };
  absl::Status VisitFile(const std::string& path, std::int64_t* left,
                         const std::function<absl::Status(std::string_view)>& visit) const;

  std::vector<File> files_;
  std::int64_t total_bytes_ = 0;
  std::int64_t max_bytes_ = 0;
  std::int64_t document_bytes_ = kMaxDocumentBytes;
};

// Streaming check of UTF-8 (no overlong forms, surrogates or values above U+10FFFF) without NUL bytes.
class TextCheck {
 public:
  // False once anything seen is not text.
  bool Feed(std::string_view bytes);
  // True when the text did not end inside a character.
  bool Complete() const { return ok_ && pending_ == 0; }

 private:
  bool ok_ = true;
  int pending_ = 0;
  unsigned char low_ = 0x80;
  unsigned char high_ = 0xBF;
};

}  // namespace entrain::data
