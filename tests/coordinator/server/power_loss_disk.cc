#include "power_loss_disk.h"

#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "base/check.h"
#include "base/random.h"

namespace entrain::server {
namespace {

constexpr char kVfsName[] = "entrain-power-loss";
// As SQLite's own file system for Unix says.
constexpr int kSectorBytes = 4096;

struct Change {
  bool truncates = false;
  std::int64_t offset = 0;  // or the new size
  std::string bytes;

  void ApplyTo(std::string* content, std::size_t count) const {
    if (truncates) return content->resize(static_cast<std::size_t>(offset));
    const std::size_t end = static_cast<std::size_t>(offset) + count;
    if (content->size() < end) content->resize(end);
    content->replace(static_cast<std::size_t>(offset), count, bytes, 0, count);
  }
};

struct Handle;

// One name on the disk.
struct Node {
  std::string durable, current;
  std::vector<Change> unsynced;
  bool name_durable = false;
  bool deleted = false;  // its name is still on the disk
  // Locks as SQLite counts them.
  int shared = 0;
  const Handle* reserved = nullptr;
  const Handle* exclusive = nullptr;
  // Shared memory: lives as long as the processes.
  std::vector<std::unique_ptr<std::string>> regions;
  int shm_shared[SQLITE_SHM_NLOCK] = {};
  const Handle* shm_exclusive[SQLITE_SHM_NLOCK] = {};
};

}  // namespace

class PowerLossDisk::Impl {
 public:
  std::recursive_mutex mutex;
  std::map<std::string, std::shared_ptr<Node>> nodes;
  std::int64_t changes = 0, syncs = 0;
  std::int64_t fail_at = 0;  // 0: never
  Survivors survivors = Survivors::kNone;
  bool failed = false;
  std::uint64_t random = 0;
  sqlite3_vfs vfs{};
  sqlite3_vfs* before = nullptr;

  // True when the power fails during this change.
  bool Fails() {
    ++changes;
    if (fail_at == 0 || changes != fail_at) return false;
    failed = true;
    return true;
  }
  void Fail(Node* node, const Change& torn) {
    Rng rng(static_cast<std::uint64_t>(changes), 7);
    for (auto& [path, each] : nodes) {
      std::string left = each->durable;
      for (const Change& change : each->unsynced) {
        if (survivors == Survivors::kAllAndTorn || (survivors == Survivors::kSomeAndTorn && rng.Below(2) == 0)) {
          change.ApplyTo(&left, change.bytes.size());
        }
      }
      if (each.get() == node && survivors != Survivors::kNone && !torn.truncates) torn.ApplyTo(&left, torn.bytes.size() / 2);
      const bool any = !each->unsynced.empty() || each.get() == node;
      if (survivors == Survivors::kAllAndTorn && any) each->name_durable = true;
      each->durable = std::move(left);
    }
  }
  int Write(Node* node, Change change) {
    if (failed) return SQLITE_IOERR_WRITE;
    if (Fails()) {
      Fail(node, change);
      return SQLITE_IOERR_WRITE;
    }
    change.ApplyTo(&node->current, change.bytes.size());
    node->unsynced.push_back(std::move(change));
    return SQLITE_OK;
  }
  int Sync(Node* node) {
    if (failed) return SQLITE_IOERR_FSYNC;
    if (Fails()) {
      Fail(nullptr, {});
      return SQLITE_IOERR_FSYNC;
    }
    ++syncs;
    node->durable = node->current;
    node->unsynced.clear();
    node->name_durable = true;
    return SQLITE_OK;
  }
  int Delete(const std::string& path, bool durable) {
    if (failed) return SQLITE_IOERR_DELETE;
    const auto found = nodes.find(path);
    if (found == nodes.end() || found->second->deleted) return SQLITE_IOERR_DELETE_NOENT;
    if (Fails()) {
      Fail(nullptr, {});
      return SQLITE_IOERR_DELETE;
    }
    if (durable || !found->second->name_durable) {
      nodes.erase(found);
    } else {
      found->second->deleted = true;
    }
    return SQLITE_OK;
  }
  std::shared_ptr<Node> Find(const std::string& path) {
    const auto found = nodes.find(path);
    return found == nodes.end() || found->second->deleted ? nullptr : found->second;
  }
};

namespace {

// sqlite3_file first: SQLite knows no more of it.
struct Handle {
  sqlite3_file base;
  void* disk;  // PowerLossDisk::Impl
  std::shared_ptr<Node> node;
  int level;
  bool delete_on_close;
  std::string path;
};

Handle* H(sqlite3_file* file) { return reinterpret_cast<Handle*>(file); }

}  // namespace

// What SQLite calls. `Impl` is PowerLossDisk's, which is private.
template <typename Impl>
struct Calls {
  static Impl* Of(sqlite3_file* file) { return static_cast<Impl*>(H(file)->disk); }
  using Lock = std::lock_guard<std::recursive_mutex>;

  static int Close(sqlite3_file* file) {
    Impl* disk = Of(file);
    Lock lock(disk->mutex);
    Unlock(file, SQLITE_LOCK_NONE);
    if (H(file)->delete_on_close) disk->Delete(H(file)->path, false);
    H(file)->~Handle();
    return SQLITE_OK;
  }
  static int Read(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset) {
    Impl* disk = Of(file);
    Lock lock(disk->mutex);
    if (disk->failed) return SQLITE_IOERR_READ;
    const std::string& content = H(file)->node->current;
    const auto begin = static_cast<std::size_t>(offset);
    const auto wanted = static_cast<std::size_t>(amount);
    std::string bytes = begin < content.size() ? content.substr(begin, wanted) : std::string();
    const bool whole = bytes.size() == wanted;
    bytes.resize(wanted, '\0');
    bytes.copy(static_cast<char*>(out), wanted);
    return whole ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
  }
  static int Write(sqlite3_file* file, const void* bytes, int amount, sqlite3_int64 offset) {
    Impl* disk = Of(file);
    Lock lock(disk->mutex);
    return disk->Write(H(file)->node.get(), {false, offset, std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(amount))});
  }
  static int Truncate(sqlite3_file* file, sqlite3_int64 size) {
    Impl* disk = Of(file);
    Lock lock(disk->mutex);
    return disk->Write(H(file)->node.get(), {true, size, ""});
  }
  static int Sync(sqlite3_file* file, int /*flags*/) {
    Impl* disk = Of(file);
    Lock lock(disk->mutex);
    return disk->Sync(H(file)->node.get());
  }
  static int FileSize(sqlite3_file* file, sqlite3_int64* size) {
    Lock lock(Of(file)->mutex);
    *size = static_cast<sqlite3_int64>(H(file)->node->current.size());
    return SQLITE_OK;
  }
  static int LockFile(sqlite3_file* file, int level) {
    Lock lock(Of(file)->mutex);
    Handle* handle = H(file);
    Node* node = handle->node.get();
    if (level <= handle->level) return SQLITE_OK;
    if (node->exclusive != nullptr && node->exclusive != handle) return SQLITE_BUSY;
    if (handle->level == SQLITE_LOCK_NONE) {
      ++node->shared;
      handle->level = SQLITE_LOCK_SHARED;
    }
    if (level >= SQLITE_LOCK_RESERVED) {
      if (node->reserved != nullptr && node->reserved != handle) return SQLITE_BUSY;
      node->reserved = handle;
    }
    if (level == SQLITE_LOCK_EXCLUSIVE) {
      if (node->shared > 1) return SQLITE_BUSY;
      node->exclusive = handle;
    }
    handle->level = level;
    return SQLITE_OK;
  }
  static int Unlock(sqlite3_file* file, int level) {
    Lock lock(Of(file)->mutex);
    Handle* handle = H(file);
    if (level >= handle->level) return SQLITE_OK;
    if (handle->node->exclusive == handle) handle->node->exclusive = nullptr;
    if (handle->node->reserved == handle) handle->node->reserved = nullptr;
    if (level == SQLITE_LOCK_NONE) --handle->node->shared;
    handle->level = level;
    return SQLITE_OK;
  }
  static int CheckReserved(sqlite3_file* file, int* reserved) {
    Lock lock(Of(file)->mutex);
    *reserved = H(file)->node->reserved != nullptr ? 1 : 0;
    return SQLITE_OK;
  }
  static int Control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
  static int SectorSize(sqlite3_file*) { return kSectorBytes; }
  static int Characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  static int ShmMap(sqlite3_file* file, int region, int bytes, int extend, void volatile** out) {
    Lock lock(Of(file)->mutex);
    auto& regions = H(file)->node->regions;
    const auto wanted = static_cast<std::size_t>(region) + 1;
    *out = nullptr;
    if (regions.size() < wanted && extend == 0) return SQLITE_OK;
    while (regions.size() < wanted) regions.push_back(std::make_unique<std::string>(static_cast<std::size_t>(bytes), '\0'));
    *out = regions[static_cast<std::size_t>(region)]->data();
    return SQLITE_OK;
  }
  static int ShmLock(sqlite3_file* file, int offset, int count, int flags) {
    Lock lock(Of(file)->mutex);
    Handle* handle = H(file);
    Node* node = handle->node.get();
    const bool exclusive = (flags & SQLITE_SHM_EXCLUSIVE) != 0;
    for (int i = offset; i < offset + count && (flags & SQLITE_SHM_LOCK) != 0; ++i) {
      if (node->shm_exclusive[i] != nullptr || (exclusive && node->shm_shared[i] > 0)) return SQLITE_BUSY;
    }
    for (int i = offset; i < offset + count; ++i) {
      if ((flags & SQLITE_SHM_LOCK) != 0) {
        if (exclusive) node->shm_exclusive[i] = handle;
        if (!exclusive) ++node->shm_shared[i];
      } else {
        if (exclusive && node->shm_exclusive[i] == handle) node->shm_exclusive[i] = nullptr;
        if (!exclusive && node->shm_shared[i] > 0) --node->shm_shared[i];
      }
    }
    return SQLITE_OK;
  }
  static void ShmBarrier(sqlite3_file*) {}
  static int ShmUnmap(sqlite3_file* file, int deletes) {
    Lock lock(Of(file)->mutex);
    if (deletes != 0) H(file)->node->regions.clear();
    return SQLITE_OK;
  }

  static const sqlite3_io_methods* Methods() {
    static const sqlite3_io_methods methods = {2,          Close,  Read,     Write,         Truncate, Sync,       FileSize,        LockFile, Unlock,
                                               CheckReserved, Control, SectorSize, Characteristics, ShmMap, ShmLock, ShmBarrier, ShmUnmap, nullptr, nullptr};
    return &methods;
  }

  static int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    auto* disk = static_cast<Impl*>(vfs->pAppData);
    Lock lock(disk->mutex);
    file->pMethods = nullptr;
    if (disk->failed) return SQLITE_CANTOPEN;
    const std::string path = name == nullptr ? "(temporary)" : name;
    std::shared_ptr<Node> node = name == nullptr ? nullptr : disk->Find(path);
    if (node == nullptr) {
      if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
      node = std::make_shared<Node>();
      if (name != nullptr) disk->nodes[path] = node;
    }
    new (file) Handle{{Methods()}, disk, std::move(node), SQLITE_LOCK_NONE, name != nullptr && (flags & SQLITE_OPEN_DELETEONCLOSE) != 0, path};
    if (out_flags != nullptr) *out_flags = flags;
    return SQLITE_OK;
  }
  static int DeleteFile(sqlite3_vfs* vfs, const char* name, int sync_dir) {
    auto* disk = static_cast<Impl*>(vfs->pAppData);
    Lock lock(disk->mutex);
    return disk->Delete(name, sync_dir != 0);
  }
  static int Access(sqlite3_vfs* vfs, const char* name, int /*flags*/, int* result) {
    auto* disk = static_cast<Impl*>(vfs->pAppData);
    Lock lock(disk->mutex);
    *result = disk->Find(name) != nullptr ? 1 : 0;
    return SQLITE_OK;
  }
  static int FullPath(sqlite3_vfs*, const char* name, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
  }
  // The same at every run, so that change n is the same change.
  static int Randomness(sqlite3_vfs* vfs, int size, char* out) {
    auto* disk = static_cast<Impl*>(vfs->pAppData);
    Lock lock(disk->mutex);
    for (int i = 0; i < size; ++i) out[i] = static_cast<char>(++disk->random * 0x9e3779b97f4a7c15ULL >> 56);
    return size;
  }
  static int Sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
  static int CurrentTime(sqlite3_vfs*, double* now) {
    *now = 2460000.5;
    return SQLITE_OK;
  }
  static int LastError(sqlite3_vfs*, int, char*) { return 0; }
};

PowerLossDisk::PowerLossDisk() : impl_(std::make_unique<Impl>()) {
  using Of = Calls<Impl>;
  sqlite3_initialize();
  impl_->before = sqlite3_vfs_find(nullptr);
  sqlite3_vfs& vfs = impl_->vfs;
  vfs.iVersion = 1;
  vfs.szOsFile = sizeof(Handle);
  vfs.mxPathname = 512;
  vfs.zName = kVfsName;
  vfs.pAppData = impl_.get();
  vfs.xOpen = Of::Open;
  vfs.xDelete = Of::DeleteFile;
  vfs.xAccess = Of::Access;
  vfs.xFullPathname = Of::FullPath;
  vfs.xRandomness = Of::Randomness;
  vfs.xSleep = Of::Sleep;
  vfs.xCurrentTime = Of::CurrentTime;
  vfs.xGetLastError = Of::LastError;
  ENTRAIN_CHECK(sqlite3_vfs_register(&vfs, 1) == SQLITE_OK);
}

PowerLossDisk::~PowerLossDisk() {
  sqlite3_vfs_unregister(&impl_->vfs);
  sqlite3_vfs_register(impl_->before, 1);
}

void PowerLossDisk::FailAt(std::int64_t change, Survivors survivors) {
  impl_->fail_at = impl_->changes + change;
  impl_->survivors = survivors;
}

bool PowerLossDisk::failed() const { return impl_->failed; }
std::int64_t PowerLossDisk::changes() const { return impl_->changes; }
std::int64_t PowerLossDisk::syncs() const { return impl_->syncs; }

void PowerLossDisk::PowerOn() {
  std::map<std::string, std::shared_ptr<Node>> survived;
  for (const auto& [path, node] : impl_->nodes) {
    if (!node->name_durable) continue;
    auto again = std::make_shared<Node>();
    again->durable = again->current = node->durable;
    again->name_durable = true;
    survived[path] = std::move(again);
  }
  impl_->nodes = std::move(survived);
  impl_->failed = false;
  impl_->fail_at = 0;
}

}  // namespace entrain::server
