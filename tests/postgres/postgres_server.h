// A real PostgreSQL server of the test's own: on a Unix socket in a folder, under the account that Debian's package makes when the tests
// run as root, which the server refuses to.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace entrain::testing {

inline constexpr char kNoPostgres[] = "PostgreSQL is not installed (Debian's package postgresql): skipped";

class PostgresServer {
 public:
  // Null when the server's programs are not there; fails the test when they do not work. `dir` is made and removed.
  static std::unique_ptr<PostgresServer> Start(const std::string& dir);
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  // An address whose tables are its own (a schema of that name). `socket_dir`: another way to the server.
  std::string Url(const std::string& schema, const std::string& socket_dir = "") const;
  // Any statements, on a session of their own; fails the test on an error. The first value of the last one.
  std::string Sql(const std::string& url, const std::string& statements) const;
  // A schema's tables and rows as statements for Sql, by pg_dump.
  std::string Dump(const std::string& schema) const;
  const std::string& socket_dir() const { return dir_; }
  // kill -9 of the whole server, as a power loss of its machine leaves it but for what the disk forgets.
  void Crash();
  void Boot();
  const std::string& data_dir() const { return data_dir_; }
  void Reload() const;

 private:
  explicit PostgresServer(std::string bin_dir, std::string dir)
      : bin_dir_(std::move(bin_dir)), dir_(std::move(dir)), data_dir_(dir_ + "/data") {}
  const std::string bin_dir_;
  const std::string dir_;
  const std::string data_dir_;
  pid_t pid_ = 0;
};

}  // namespace entrain::testing
