// The safetensors format (8-byte little-endian header length, JSON header, tensor bytes). Every length and offset in a
// file is checked against the file before it is used.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain::data {

enum class DType { kF32, kF64, kF16, kBf16, kI32, kI64, kU8, kBool };
std::int64_t SizeOf(DType dtype);
std::string_view ToString(DType dtype);  // "F32", ...

// A tensor's bytes somewhere else (a torch tensor, a mapped file), row-major.
struct TensorView {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  const char* bytes = nullptr;
  std::int64_t byte_size = 0;
};

// A memory-mapped file; views live as long as it does.
class SafetensorsFile {
 public:
  // INVALID_ARGUMENT names the path, the tensor and the offset of the first damage.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);
  ~SafetensorsFile();
  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

  const std::map<std::string, TensorView>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;
  // NOT_FOUND with the path and the name.
  absl::StatusOr<TensorView> Get(std::string_view name) const;

 private:
  struct Mapping;
  explicit SafetensorsFile(std::unique_ptr<Mapping> mapping);
  std::unique_ptr<Mapping> mapping_;
};

// Writes a file (not atomic; the caller renames) and fsyncs it. The data starts 8-byte aligned; tensors lie by falling
// element size, then name, so that each is aligned and no gap remains (the Python library refuses gaps). On failure the
// part written is removed.
absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, TensorView>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

}  // namespace entrain::data
