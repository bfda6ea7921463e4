#include "coordinator/server/artifact_root.h"

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

constexpr int kRootIdLength = 20;

std::string RootFile(const std::string& dir) { return dir + "/.entrain-root"; }

absl::StatusOr<std::string> ReadId(const std::string& file) {
  ENTRAIN_ASSIGN_OR_RETURN(std::string id, ReadFile(file));
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}
absl::StatusOr<std::string> ReadRoot(const std::string& dir) { return ReadId(RootFile(dir)); }

absl::StatusOr<std::string> IdIn(const std::string& dir, const std::string& file, IdSource* ids) {
  const absl::StatusOr<std::string> known = ReadId(file);
  if (known.ok() || !absl::IsNotFound(known.status())) return known;
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(dir));
  const std::string id = ids->Next(kRootIdLength);
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(file, id + "\n"));
  return id;
}

}  // namespace

absl::StatusOr<std::string> ArtifactRootOf(const std::string& dir, IdSource* ids) { return IdIn(dir, RootFile(dir), ids); }

absl::StatusOr<std::string> StoreIdOf(const std::string& data_dir, IdSource* ids) { return IdIn(data_dir, data_dir + "/store-id", ids); }

absl::Status CheckArtifactRoot(const std::string& dir, const std::string& expected) {
  const absl::StatusOr<std::string> root = ReadRoot(dir);
  if (root.ok() && *root == expected) return absl::OkStatus();
  if (!root.ok() && !absl::IsNotFound(root.status())) return root.status();
  return absl::FailedPreconditionError(StrCat("artifact root ", dir, " is not the folder that the store's other coordinators use: "
                                              "coordinators on PostgreSQL must share one"));
}

}  // namespace entrain::server
