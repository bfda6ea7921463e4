// Where this program's own shared objects lie.
#pragma once

#include <filesystem>
#include <vector>

namespace entrain {

// Beside the program (always the first), in the build tree's lib, in an installation's lib/entrain.
std::vector<std::filesystem::path> LibraryFolders();

}  // namespace entrain
