// From a sweep file on disk to what is submitted: read, prepare its data, check, bind.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/session.h"
#include "data/prepare.h"
#include "entrain/v1/sweep_service.pb.h"
#include "sweep/sweep.h"

namespace entrain::cli {

struct SweepFile {
  std::string path;      // as given
  std::string absolute;  // for relative data paths and for the key
  std::string yaml;
  sweep::DataSource source;
};

// NOT_FOUND, or INVALID_ARGUMENT for a file that is no text. `problems` holds what is wrong with the data section.
absl::StatusOr<SweepFile> ReadSweepFile(const std::string& path, std::vector<sweep::Problem>* problems);

// What to prepare: the file's data section, its path taken relative to the file, "python-stdlib" as this machine's copy; or `override`
// (relative to the working folder) instead of the file's path, when not empty.
absl::StatusOr<data::PrepareOptions> PrepareOptionsOf(const SweepFile& file, const std::string& override_path);

// Prepares into `<artifacts>/datasets`, with a progress line on standard error where that is a terminal.
absl::StatusOr<data::PreparedDataset> PrepareWithProgress(const Session& session, const data::PrepareOptions& options,
                                                          const std::string& artifacts);

struct Binding {
  sweep::BoundDataset dataset;
  // For a source that has a path; the path as written in the file.
  v1::DatasetBinding wire;
};

// Prepares the file's data, or takes the reference that it names.
absl::StatusOr<Binding> BindData(const Session& session, const SweepFile& file, const std::string& override_path,
                                 const std::string& artifacts);

// Checks the file without touching its data beyond whether it is there: kExitOk, or the exit code after every problem was told.
int CheckSweepFile(const Session& session, const std::string& path, const std::string& override_path,
                   sweep::ParsedSweep* parsed = nullptr);

// Everything up to the call: a finished request, or the exit code after the problem was told.
struct Preparation {
  std::optional<v1::SubmitRequest> request;
  SweepFile file;
  Binding binding;
  int exit_code = 0;
};
Preparation PrepareSubmission(const Session& session, const std::string& path, const std::string& override_path,
                              const std::string& artifacts);

}  // namespace entrain::cli
