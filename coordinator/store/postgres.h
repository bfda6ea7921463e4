// A thin layer over libpq: connections and results that close themselves, binary values, errors as statuses in the server's own words.
// No message carries a password.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <libpq-fe.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"

namespace entrain::store {

// Where the server is and how to get in, as libpq's keywords.
class PostgresTarget {
 public:
  // `url` is postgresql://... or "host=... dbname=...". INVALID_ARGUMENT when it cannot be read or carries a password, which would show
  // in the list of processes. The file's first line is the password; empty: PGPASSFILE, a service file or none.
  static absl::StatusOr<PostgresTarget> Parse(const std::string& url, const std::string& password_file);
  // "postgresql host:port/database", for messages.
  const std::string& name() const { return name_; }
  // For PQconnectdbParams; the pointers live as long as this.
  void Keywords(std::vector<const char*>* keywords, std::vector<const char*>* values) const;

 private:
  std::vector<std::pair<std::string, std::string>> settings_;
  std::string name_;
};

// A statement's values in binary, numbered $1, $2, ...
class PostgresValues {
 public:
  PostgresValues& Int(std::int64_t value);
  PostgresValues& Text(std::string_view text);
  // Arrays, for unnest.
  PostgresValues& Ints(const std::vector<std::int64_t>& values);
  PostgresValues& Doubles(const std::vector<double>& values);
  PostgresValues& Texts(const std::vector<std::string_view>& values);
  PostgresValues& Blobs(const std::vector<std::string_view>& values);

  const std::vector<std::string>& bytes() const { return bytes_; }
  const std::vector<Oid>& types() const { return types_; }

 private:
  PostgresValues& Add(Oid type, std::string bytes);
  std::vector<std::string> bytes_;
  std::vector<Oid> types_;
};

// The rows of one answer. The caller knows the columns' types.
class PostgresRows {
 public:
  int size() const { return PQntuples(result_.get()); }
  std::int64_t Int(int row, int column) const;
  double Double(int row, int column) const;
  std::string Text(int row, int column) const { return std::string(Blob(row, column)); }
  std::string_view Blob(int row, int column) const;

 private:
  friend class PostgresConnection;
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  explicit PostgresRows(PGresult* result) : result_(result) {}
  std::unique_ptr<PGresult, Clear> result_;
};

// One session. Not thread-safe. After UNAVAILABLE it is of no more use, and whether the statement was carried out is not known.
class PostgresConnection {
 public:
  // UNAVAILABLE when no server answers, FAILED_PRECONDITION when one does and lets us not in.
  static absl::StatusOr<std::unique_ptr<PostgresConnection>> Open(const PostgresTarget& target, const Clock* clock);

  // One statement, which is a transaction unless Script began one; planned once a connection.
  absl::StatusOr<PostgresRows> Run(const std::string& sql, const PostgresValues& values = {});
  // Statements without values, separated by semicolons; their rows are dropped.
  absl::Status Script(const std::string& sql);

 private:
  struct Finish {
    void operator()(PGconn* handle) const { PQfinish(handle); }
  };
  PostgresConnection(std::string name, const Clock* clock, PGconn* handle) : name_(std::move(name)), clock_(clock), handle_(handle) {}
  absl::StatusOr<PostgresRows> Answer();
  absl::Status AwaitSocket(std::int64_t deadline_ms, bool until_sent);
  absl::Status Lost() const;
  absl::Status ErrorOf(const PGresult* result) const;

  const std::string name_;
  const Clock* const clock_;
  std::unique_ptr<PGconn, Finish> handle_;
  std::map<std::string, std::string> prepared_;  // SQL -> the statement's name
};

}  // namespace entrain::store
