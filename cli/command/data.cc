#include "cli/command/data.h"

#include <filesystem>

#include "CLI/CLI.hpp"
#include "base/strings.h"
#include "cli/command/commands.h"

namespace entrain::cli::command {

absl::StatusOr<std::string> FindDataset(const std::string& written, const std::string& artifacts) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (fs::exists(fs::path(written) / "dataset.json", error)) return written;
  const std::string hash = written.substr(written.rfind('@') + 1);
  const fs::path stored = fs::path(artifacts) / "datasets" / hash;
  const bool is_name = !hash.empty() && hash.find('/') == std::string::npos && hash.front() != '.';
  if (is_name && fs::exists(stored / "dataset.json", error)) return stored.string();
  return absl::NotFoundError(StrCat("no prepared dataset ", written, ": no dataset.json in that folder",
                                    is_name ? StrCat(", nor in ", stored.string()) : ""));
}

void AddData(CLI::App* app, Session* session) {
  CLI::App* group = app->add_subcommand("data", "Prepares, inspects, exports and pushes training data");
  group->require_subcommand(1);
  AddDataPrepare(group, session);
  AddDataInspect(group, session);
  AddDataExport(group, session);
  AddDataPush(group, session);
}

}  // namespace entrain::cli::command
