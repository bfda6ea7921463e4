// The short-lived places of an attempt outside its folder.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/launcher/gang_command.h"

namespace entrain::launcher {

// Mode 0700 and owned by this user; an existing folder of somebody else's or with a wider mode is refused (PERMISSION_DENIED).
absl::Status MakePrivateFolder(const std::string& path);

void RemoveRuntimeFolders(const RuntimePaths& runtime);

}  // namespace entrain::launcher
