// A thin layer over SQLite: handles that close themselves, errors as statuses with the path and SQLite's own words.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sqlite3.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace entrain::store {

class Database;

// A prepared statement. Bind in order from 1; Step until false; Reset before the next use.
class Statement {
 public:
  Statement() = default;
  void Bind(int index, std::int64_t value);
  void Bind(int index, double value);
  // The bytes must live until Reset.
  void BindText(int index, std::string_view text);
  void BindBlob(int index, std::string_view bytes);
  // True: a row is there; false: done.
  absl::StatusOr<bool> Step();
  // Runs a statement without rows and resets it.
  absl::Status Run();
  std::int64_t Int(int column) const;
  double Double(int column) const;
  std::string Text(int column) const;
  // Valid until the next Step or Reset.
  std::string_view Blob(int column) const;
  void Reset();

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  Statement(Database* database, sqlite3_stmt* statement) : database_(database), statement_(statement) {}
  Database* database_ = nullptr;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// Not thread-safe; must not move once statements exist.
class Database {
 public:
  struct Options {
    bool read_only = false;
    // Held until closed: no other process can open it meanwhile.
    bool exclusive = false;
    // The target of a copy: takes over everything, the journal mode too, from its source.
    bool plain = false;
  };
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path, const Options& options);

  absl::Status Execute(const std::string& sql);
  absl::StatusOr<Statement> Prepare(std::string_view sql);
  // One transaction around `body`; rolled back when it fails.
  template <typename Body>
  absl::Status Transact(Body body) {
    if (absl::Status status = Execute("BEGIN IMMEDIATE"); !status.ok()) return status;
    absl::Status status = body();
    if (status.ok()) status = Execute("COMMIT");
    if (!status.ok()) Execute("ROLLBACK").IgnoreError();
    return status;
  }
  // Rows that the last statement inserted, changed or deleted.
  std::int64_t Changes() const { return sqlite3_changes64(handle_.get()); }
  // The last call's failure.
  absl::Status Error(int code, std::string_view action) const;
  const std::string& path() const { return path_; }

 private:
  friend class DatabaseCopy;
  struct Close {
    void operator()(sqlite3* handle) const { sqlite3_close_v2(handle); }
  };
  Database(std::string path, sqlite3* handle) : path_(std::move(path)), handle_(handle) {}
  std::string path_;
  std::unique_ptr<sqlite3, Close> handle_;
};

// SQLite's online backup. While it lasts `from` may be written, by its own connection alone if the copy takes several steps.
class DatabaseCopy {
 public:
  static absl::StatusOr<std::unique_ptr<DatabaseCopy>> Begin(Database* from, const std::string& path);
  ~DatabaseCopy();
  DatabaseCopy(const DatabaseCopy&) = delete;
  DatabaseCopy& operator=(const DatabaseCopy&) = delete;
  // True once complete; `pages` -1: all that are left.
  absl::StatusOr<bool> Step(int pages);

 private:
  DatabaseCopy(std::unique_ptr<Database> to, sqlite3_backup* backup) : to_(std::move(to)), backup_(backup) {}
  const std::unique_ptr<Database> to_;
  sqlite3_backup* backup_;
};

// Checks that the file is ours and that its schema, which is returned, is at most `newest`. Only reads.
absl::StatusOr<std::int64_t> CheckReadable(Database* database, std::int64_t newest);

// Checks the file (quick_check, unless it is larger than `check_limit_bytes`), that it is ours, and brings its schema to the newest
// version: `migrations[v]` leads from version v to v + 1.
absl::Status Migrate(Database* database, const std::vector<std::string>& migrations, std::int64_t check_limit_bytes);

}  // namespace entrain::store
