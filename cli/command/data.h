// The subcommands of `entrain data`, one source file each.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/session.h"

namespace CLI {
class App;
}

namespace entrain::cli::command {

void AddDataPrepare(CLI::App* group, Session* session);
void AddDataInspect(CLI::App* group, Session* session);
void AddDataExport(CLI::App* group, Session* session);
void AddDataPush(CLI::App* group, Session* session);

inline constexpr char kDefaultArtifacts[] = "entrain-data/artifacts";

// The folder of a prepared dataset: a folder itself, or name@hash or a hash under the artifact root. NOT_FOUND says where it was looked for.
absl::StatusOr<std::string> FindDataset(const std::string& written, const std::string& artifacts);

}  // namespace entrain::cli::command
