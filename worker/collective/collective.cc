#include "worker/collective/collective.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/library_folders.h"
#include "base/strings.h"
#include "worker/collective/backend.h"

namespace entrain::collective {
namespace {

class DoneWork : public Work {
 public:
  absl::Status Wait() override { return absl::OkStatus(); }
};

// One process: every reduction is its own result.
class SingleCollective : public Collective {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  std::unique_ptr<Work> AllReduceSum(float*, std::int64_t) override { return std::make_unique<DoneWork>(); }
  absl::Status AllReduceMax(float*, std::int64_t) override { return absl::OkStatus(); }
  absl::Status Broadcast(void*, std::int64_t, int) override { return absl::OkStatus(); }
  absl::Status Barrier() override { return absl::OkStatus(); }
  void Abort(int exit_code) override { std::_Exit(exit_code); }
};

absl::StatusOr<std::filesystem::path> FindBackend(const std::string& backend) {
  const std::string file = StrCat("libentrain_collective_", backend, ".so");
  std::string searched;
  for (const std::filesystem::path& folder : LibraryFolders()) {
    std::error_code error;
    if (std::filesystem::exists(folder / file, error)) return folder / file;
    StrAppend(&searched, searched.empty() ? "" : ", ", folder.string());
  }
  return absl::NotFoundError(StrCat("collective '", backend, "' is not installed: no ", file, " in ", searched));
}

absl::StatusOr<std::unique_ptr<Collective>> LoadBackend(const std::string& backend, const CollectiveLimits& limits) {
  const absl::StatusOr<std::filesystem::path> path = FindBackend(backend);
  if (!path.ok()) return path.status();
  // Never closed: the library's threads and exit handlers outlive the object. Global, because MPI's own plug-ins look its symbols up.
  void* library = ::dlopen(path->c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) return absl::NotFoundError(StrCat("load collective '", backend, "': ", ::dlerror()));
  auto* make = reinterpret_cast<MakeBackendFunction*>(::dlsym(library, kMakeBackendSymbol));
  if (make == nullptr) return absl::NotFoundError(StrCat(path->string(), " is not a collective: ", ::dlerror()));
  std::string error;
  std::unique_ptr<Collective> collective(make(limits, &error));
  if (collective == nullptr) return absl::UnavailableError(StrCat("start collective '", backend, "': ", error));
  return collective;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Collective>> MakeCollective(const std::string& backend, const CollectiveLimits& limits) {
  if (backend == "single") return std::make_unique<SingleCollective>();
  if (backend == "mpi" || backend == "nccl") return LoadBackend(backend, limits);
  return absl::InvalidArgumentError(StrCat("collective is '", backend, "'; known are single, mpi and nccl"));
}

}  // namespace entrain::collective
