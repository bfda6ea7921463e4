#include "coordinator/store/sqlite.h"

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::store {
namespace {

// "entr": marks a database as ours.
constexpr std::int64_t kApplicationId = 0x656e7472;
constexpr int kBusyTimeoutMs = 2'000;

absl::StatusCode CodeOf(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return absl::StatusCode::kUnavailable;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return absl::StatusCode::kDataLoss;
    case SQLITE_FULL: return absl::StatusCode::kResourceExhausted;
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY: return absl::StatusCode::kPermissionDenied;
    case SQLITE_IOERR: return absl::StatusCode::kInternal;
    default: return absl::StatusCode::kInternal;
  }
}

absl::StatusOr<std::int64_t> ReadPragma(Database* database, const std::string& name) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement statement, database->Prepare(StrCat("PRAGMA ", name)));
  ENTRAIN_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Int(0) : 0;
}

absl::Status QuickCheck(Database* database) {
  ENTRAIN_ASSIGN_OR_RETURN(Statement statement, database->Prepare("PRAGMA quick_check(1)"));
  ENTRAIN_ASSIGN_OR_RETURN(const bool row, statement.Step());
  if (row && statement.Text(0) == "ok") return absl::OkStatus();
  return absl::DataLossError(StrCat("database ", database->path(), " is damaged: ", row ? statement.Text(0) : "no answer"));
}

// A new database has neither mark nor tables.
absl::Status CheckOurs(Database* database, std::int64_t newest) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t id, ReadPragma(database, "application_id"));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t version, ReadPragma(database, "user_version"));
  ENTRAIN_ASSIGN_OR_RETURN(Statement tables, database->Prepare("SELECT count(*) FROM sqlite_schema"));
  ENTRAIN_ASSIGN_OR_RETURN(const bool row, tables.Step());
  const bool fresh = id == 0 && version == 0 && row && tables.Int(0) == 0;
  if (!fresh && id != kApplicationId) {
    return absl::FailedPreconditionError(StrCat("database ", database->path(), " was not made by entrain"));
  }
  if (version > newest) {
    return absl::FailedPreconditionError(StrCat("database ", database->path(), " has schema ", version,
                                                ", this build knows up to ", newest, ": use a newer build"));
  }
  return absl::OkStatus();
}

}  // namespace

void Statement::Bind(int index, std::int64_t value) { sqlite3_bind_int64(statement_.get(), index, value); }
void Statement::Bind(int index, double value) { sqlite3_bind_double(statement_.get(), index, value); }
void Statement::BindText(int index, std::string_view text) {
  sqlite3_bind_text(statement_.get(), index, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}
void Statement::BindBlob(int index, std::string_view bytes) {
  // A null pointer would bind NULL instead of an empty blob.
  sqlite3_bind_blob(statement_.get(), index, bytes.empty() ? "" : bytes.data(), static_cast<int>(bytes.size()), SQLITE_STATIC);
}

absl::StatusOr<bool> Statement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return database_->Error(code, "run");
}

absl::Status Statement::Run() {
  const absl::StatusOr<bool> row = Step();
  Reset();
  return row.status();
}

std::int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::Double(int column) const { return sqlite3_column_double(statement_.get(), column); }
std::string Statement::Text(int column) const { return std::string(Blob(column)); }
std::string_view Statement::Blob(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}
void Statement::Reset() { sqlite3_reset(statement_.get()); }

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& path, const Options& options) {
  sqlite3* handle = nullptr;
  const int flags = (options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE) | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Database> database(new Database(path, handle));
  if (code != SQLITE_OK) return database->Error(code, "open");
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  if (options.exclusive) ENTRAIN_RETURN_IF_ERROR(database->Execute("PRAGMA locking_mode = EXCLUSIVE"));
  if (!options.read_only && !options.plain) {
    // As FULL with WAL; before that a new database has a rollback journal, whose removal must be durable too: found again after a power
    // loss it would undo the file that the WAL belongs to, and with it everything that was acknowledged.
    ENTRAIN_RETURN_IF_ERROR(database->Execute("PRAGMA synchronous = EXTRA"));
    ENTRAIN_RETURN_IF_ERROR(database->Execute("PRAGMA journal_mode = WAL"));
  }
  return database;
}

absl::Status Database::Execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code, "run");
}

absl::StatusOr<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code =
      sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return Error(code, "prepare");
  return Statement(this, statement);
}

absl::Status Database::Error(int code, std::string_view action) const {
  const char* words = handle_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(handle_.get());
  std::string message = StrCat("database ", path_, ": cannot ", action, ": ", words, " (SQLite code ", code, ")");
  const absl::StatusCode status_code = CodeOf(code);
  if (status_code == absl::StatusCode::kUnavailable) message = StrCat("database ", path_, " is in use by another process: ", words);
  if (status_code == absl::StatusCode::kDataLoss) message = StrCat("database ", path_, " is damaged: ", words);
  return absl::Status(status_code, message);
}

absl::StatusOr<std::unique_ptr<DatabaseCopy>> DatabaseCopy::Begin(Database* from, const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(std::unique_ptr<Database> to, Database::Open(path, {.plain = true}));
  sqlite3_backup* const backup = sqlite3_backup_init(to->handle_.get(), "main", from->handle_.get(), "main");
  if (backup == nullptr) return to->Error(sqlite3_errcode(to->handle_.get()), "copy into it");
  return std::unique_ptr<DatabaseCopy>(new DatabaseCopy(std::move(to), backup));
}

DatabaseCopy::~DatabaseCopy() { sqlite3_backup_finish(backup_); }

absl::StatusOr<bool> DatabaseCopy::Step(int pages) {
  const int code = sqlite3_backup_step(backup_, pages);
  if (code == SQLITE_OK) return false;
  if (code == SQLITE_DONE) return true;
  return to_->Error(code, "copy into it");
}

absl::StatusOr<std::int64_t> CheckReadable(Database* database, std::int64_t newest) {
  ENTRAIN_RETURN_IF_ERROR(CheckOurs(database, newest));
  return ReadPragma(database, "user_version");
}

absl::Status Migrate(Database* database, const std::vector<std::string>& migrations, std::int64_t check_limit_bytes) {
  ENTRAIN_RETURN_IF_ERROR(CheckOurs(database, static_cast<std::int64_t>(migrations.size())));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t pages, ReadPragma(database, "page_count"));
  ENTRAIN_ASSIGN_OR_RETURN(const std::int64_t page_bytes, ReadPragma(database, "page_size"));
  if (pages * page_bytes <= check_limit_bytes) ENTRAIN_RETURN_IF_ERROR(QuickCheck(database));
  ENTRAIN_ASSIGN_OR_RETURN(std::int64_t version, ReadPragma(database, "user_version"));
  for (; version < static_cast<std::int64_t>(migrations.size()); ++version) {
    const std::string& steps = migrations[static_cast<std::size_t>(version)];
    const std::string marks = StrCat("PRAGMA user_version = ", version + 1, "; PRAGMA application_id = ", kApplicationId);
    ENTRAIN_RETURN_IF_ERROR(database->Transact([&] { return database->Execute(StrCat(steps, marks)); }));
  }
  return absl::OkStatus();
}

}  // namespace entrain::store
