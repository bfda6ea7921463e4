#include "base/library_folders.h"

#include <system_error>

namespace entrain {

std::vector<std::filesystem::path> LibraryFolders() {
  std::error_code error;
  const std::filesystem::path bin = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  return {bin, bin.parent_path() / "lib", bin.parent_path() / "lib" / "entrain"};
}

}  // namespace entrain
