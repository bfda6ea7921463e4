// A checkpoint's weights: whatever is accepted lies inside the file.
#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/strings.h"
#include "data/safetensors.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace entrain;
  static const int fd = ::memfd_create("fuzz", MFD_CLOEXEC);
  ENTRAIN_CHECK(fd >= 0 && ::ftruncate(fd, 0) == 0 && ::pwrite(fd, bytes, size, 0) == static_cast<ssize_t>(size));
  const auto file = data::SafetensorsFile::Open(StrCat("/proc/self/fd/", fd));
  if (!file.ok()) return 0;
  unsigned sum = 0;
  for (const auto& [name, tensor] : file->tensors()) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : tensor.shape) elements *= extent;
    ENTRAIN_CHECK(elements * data::SizeOf(tensor.dtype) == tensor.byte_size && tensor.byte_size <= static_cast<std::int64_t>(size));
    // Read to the end: what lies outside the mapping faults.
    for (std::int64_t i = 0; i < tensor.byte_size; ++i) sum += static_cast<unsigned char>(tensor.bytes[i]);
    ENTRAIN_CHECK(file->Get(name).ok());
  }
  // libFuzzer leaves an input with -1 out of the corpus; the sum is used so that the reads stay.
  return sum == 0xffffffffU ? -1 : 0;
}
