#include "coordinator/retention/root_sweep.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <system_error>
#include <unordered_map>
#include <unordered_set>

#include "artifacts/artifact_store.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::retention {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kTrash = ".trash";
constexpr std::string_view kIncoming = ".incoming-";
constexpr const char* kClaim = ".entrain-store";
constexpr std::int64_t kMsPerSecond = 1'000;

// Names in a folder; a folder that vanishes meanwhile has none.
absl::StatusOr<std::vector<std::string>> NamesIn(const fs::path& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) {
    return ErrnoStatus(error.value(), "list", dir.string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct Measure {
  std::int64_t bytes = 0;
  std::int64_t newest_ms = 0;  // when anything in it was changed last
};

// Whatever vanishes meanwhile counts as nothing.
void AddTo(Measure* measure, const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return;
  measure->newest_ms = std::max(measure->newest_ms, static_cast<std::int64_t>(info.st_mtim.tv_sec) * kMsPerSecond + info.st_mtim.tv_nsec / 1'000'000);
  if (S_ISREG(info.st_mode)) measure->bytes += info.st_size;
}
Measure MeasureFolder(const fs::path& dir) {
  Measure measure;
  AddTo(&measure, dir);
  std::error_code error;
  for (fs::recursive_directory_iterator entry(dir, error), end; !error && entry != end; entry.increment(error)) AddTo(&measure, entry->path());
  return measure;
}

std::string RetiredText(const core::RetiredCheckpoint& retired) { return StrCat("deleted by retention: ", retired.reason); }

class Sweeper {
 public:
  Sweeper(const fs::path& root, const core::State& state, const SweepOptions& options, std::int64_t now_wall_ms)
      : root_(root), state_(state), options_(options), now_wall_ms_(now_wall_ms) {
    for (const auto& [id, run] : state.runs) {
      for (const domain::Checkpoint& checkpoint : run->checkpoints) listed_.insert(checkpoint.path);
      for (const core::RetiredCheckpoint& retired : run->retired) retired_[retired.checkpoint.path] = RetiredText(retired);
      datasets_.insert(run->spec->dataset.hash);
      for (const domain::RunSpec& rescue : run->spec->rescue) datasets_.insert(rescue.dataset.hash);
      if (domain::IsFinal(run->state)) continue;
      listed_.insert(run->fork.path);
      if (run->current != nullptr) listed_.insert(run->current->resume_from.path);
    }
  }

  absl::StatusOr<RootContents> Sweep() {
    ENTRAIN_ASSIGN_OR_RETURN(const auto runs, NamesIn(root_ / "checkpoints"));
    for (const std::string& run : runs) {
      ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, NamesIn(root_ / "checkpoints" / run));
      for (const std::string& attempt : attempts) {
        const std::string dir = StrCat("checkpoints/", run, "/", attempt);
        ENTRAIN_ASSIGN_OR_RETURN(const auto names, NamesIn(root_ / dir));
        for (const std::string& name : names) Checkpoint(StrCat(dir, "/", name), name);
      }
    }
    ENTRAIN_ASSIGN_OR_RETURN(const auto datasets, NamesIn(root_ / "datasets"));
    for (const std::string& name : datasets) Dataset(name);
    return std::move(contents_);
  }

 private:
  void Checkpoint(const std::string& path, const std::string& name) {
    const Measure measure = MeasureFolder(root_ / path);
    contents_.used_bytes += measure.bytes;
    if (listed_.contains(path)) return;
    if (name.starts_with(kIncoming)) return Add(GarbageKind::kUpload, path, measure, "an upload that nobody goes on with");
    if (const auto retired = retired_.find(path); retired != retired_.end()) {
      contents_.garbage.push_back({GarbageKind::kCheckpoint, path, measure.bytes, retired->second, 0});
      return;
    }
    const auto named = artifacts::ParseCheckpointPath(path);
    if (!named.has_value()) return;
    if (const std::string why = WhyOrphan(*named); !why.empty()) Add(GarbageKind::kOrphan, path, measure, why);
  }

  // Empty: its report may be on its way, or it is not ours.
  std::string WhyOrphan(const artifacts::CheckpointName& name) const {
    const core::Run* run = state_.FindRun(name.key.run);
    if (run == nullptr) return options_.owns_root ? "of a run that the store does not know" : "";
    const bool newer = run->checkpoints.empty() || name.step > run->checkpoints.back().step;
    if (name.key.attempt > run->attempt) return options_.owns_root ? "of an attempt that the store does not know" : "";
    if (name.key.attempt < run->attempt) return "of an attempt that was replaced";
    if (domain::IsFinal(run->state)) return "of a run that is over";
    return newer ? "" : "no longer on its run's list";
  }

  void Dataset(const std::string& name) {
    const Measure measure = MeasureFolder(root_ / "datasets" / name);
    contents_.used_bytes += measure.bytes;
    contents_.dataset_bytes += measure.bytes;
    const std::string path = StrCat("datasets/", name);
    if (name.starts_with(kIncoming)) return Add(GarbageKind::kUpload, path, measure, "an upload that nobody goes on with");
    const bool is_hash = name.size() == 32 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!is_hash || !options_.owns_root || options_.dataset_grace_s == 0 || datasets_.contains(name)) return;
    Add(GarbageKind::kDataset, path, measure, "no sweep names it", options_.dataset_grace_s);
  }

  void Add(GarbageKind kind, const std::string& path, const Measure& measure, const std::string& why) { Add(kind, path, measure, why, options_.grace_s); }
  void Add(GarbageKind kind, const std::string& path, const Measure& measure, const std::string& why, std::int64_t grace_s) {
    // A file from the future waits: nobody knows how old it is.
    const std::int64_t age_s = (now_wall_ms_ - measure.newest_ms) / kMsPerSecond;
    contents_.garbage.push_back({kind, path, measure.bytes, why, std::max<std::int64_t>(0, grace_s - age_s)});
  }

  const fs::path root_;
  const core::State& state_;
  const SweepOptions options_;
  const std::int64_t now_wall_ms_;
  std::unordered_set<std::string> listed_;
  std::unordered_map<std::string, std::string> retired_;
  std::unordered_set<std::string> datasets_;
  RootContents contents_;
};

// Flat, so that one level of .trash holds everything.
std::string TrashName(const std::string& path) {
  std::string name = path;
  std::replace(name.begin(), name.end(), '/', '~');
  return name;
}

absl::Status Remove(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? ErrnoStatus(error.value(), "remove", path.string()) : absl::OkStatus();
}

}  // namespace

std::string_view ToString(GarbageKind kind) {
  constexpr std::string_view kNames[] = {"checkpoint", "orphan", "upload", "dataset"};
  return kNames[static_cast<int>(kind)];
}

absl::StatusOr<RootContents> SweepRoot(const std::string& root, const core::State& state, const SweepOptions& options, std::int64_t now_wall_ms) {
  return Sweeper(root, state, options, now_wall_ms).Sweep();
}

absl::StatusOr<AttemptNumber> HighestAttempt(const std::string& root) {
  AttemptNumber highest = 0;
  const fs::path checkpoints = fs::path(root) / "checkpoints";
  ENTRAIN_ASSIGN_OR_RETURN(const auto runs, NamesIn(checkpoints));
  for (const std::string& run : runs) {
    ENTRAIN_ASSIGN_OR_RETURN(const auto attempts, NamesIn(checkpoints / run));
    for (const std::string& name : attempts) {
      AttemptNumber attempt = 0;
      std::from_chars(name.data(), name.data() + name.size(), attempt);
      if (StrCat(attempt) == name) highest = std::max(highest, attempt);
    }
  }
  return highest;
}

absl::StatusOr<bool> Collect(const std::string& root, const std::string& path, const artifacts::Pins& pins) {
  ENTRAIN_RETURN_IF_ERROR(artifacts::CheckInnerPath(path));
  if (pins.Held(path)) return false;
  const fs::path trash = fs::path(root) / kTrash;
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(trash.string()));
  const fs::path there = trash / TrashName(path);
  ENTRAIN_RETURN_IF_ERROR(Remove(there));
  std::error_code error;
  fs::rename(fs::path(root) / path, there, error);
  if (error == std::errc::no_such_file_or_directory) return true;
  if (error) return ErrnoStatus(error.value(), "move away", StrCat(root, "/", path));
  // The name is gone for good before the first file of it is.
  ENTRAIN_RETURN_IF_ERROR(SyncPath((fs::path(root) / path).parent_path().string()));
  ENTRAIN_RETURN_IF_ERROR(Remove(there));
  return true;
}

absl::Status EmptyTrash(const std::string& root) {
  const fs::path trash = fs::path(root) / kTrash;
  ENTRAIN_ASSIGN_OR_RETURN(const auto names, NamesIn(trash));
  for (const std::string& name : names) ENTRAIN_RETURN_IF_ERROR(Remove(trash / name));
  return absl::OkStatus();
}

absl::StatusOr<bool> ClaimRoot(const std::string& root, const std::string& store_id) {
  const std::string file = StrCat(root, "/", kClaim);
  const absl::StatusOr<std::string> claimed = ReadFile(file);
  if (claimed.ok()) return *claimed == store_id + "\n";
  if (!absl::IsNotFound(claimed.status())) return claimed.status();
  ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(file, store_id + "\n"));
  return true;
}

}  // namespace entrain::retention
