#include "coordinator/server/artifact_root.h"

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

constexpr int kRootIdLength = 20;

std::string RootFile(const std::string& dir) { return dir + "/.entrain-root"; }

absl::StatusOr<std::string> ReadRoot(const std::string& dir) {
  ENTRAIN_ASSIGN_OR_RETURN(std::string root, ReadFile(RootFile(dir)));
  while (!root.empty() && root.back() == '\n') root.pop_back();
  return root;
}

}  // namespace

absl::StatusOr<std::string> ArtifactRootOf(const std::string& dir, IdSource* ids) {
  const absl::StatusOr<std::string> known = ReadRoot(dir);
  if (known.ok() || !absl::IsNotFound(known.status())) return known;
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(dir));
  const std::string root = ids->Next(kRootIdLength);
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(RootFile(dir), root + "\n"));
  return root;
}

absl::Status CheckArtifactRoot(const std::string& dir, const std::string& expected) {
  const absl::StatusOr<std::string> root = ReadRoot(dir);
  if (root.ok() && *root == expected) return absl::OkStatus();
  if (!root.ok() && !absl::IsNotFound(root.status())) return root.status();
  return absl::FailedPreconditionError(StrCat("artifact root ", dir, " is not the folder that the store's other coordinators use: "
                                              "coordinators on PostgreSQL must share one"));
}

}  // namespace entrain::server
