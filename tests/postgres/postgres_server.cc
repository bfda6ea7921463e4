#include "tests/postgres/postgres_server.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::testing {
namespace {

namespace fs = std::filesystem;

// Debian keeps them out of the path.
std::string FindBinDir() {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& version : fs::directory_iterator("/usr/lib/postgresql", error)) {
    const std::string dir = version.path().string() + "/bin";
    if (fs::exists(dir + "/initdb", error) && fs::exists(dir + "/postgres", error)) found.push_back(dir);
  }
  std::sort(found.begin(), found.end());
  if (!found.empty()) return found.back();
  std::stringstream path(std::getenv("PATH") == nullptr ? "" : std::getenv("PATH"));
  for (std::string dir; std::getline(path, dir, ':');) {
    if (fs::exists(dir + "/initdb", error) && fs::exists(dir + "/postgres", error)) return dir;
  }
  return "";
}

const passwd* ServerAccount() { return geteuid() == 0 ? getpwnam("postgres") : nullptr; }

// Ends with us.
pid_t Launch(const std::vector<std::string>& argv, const std::string& log_path) {
  const passwd* account = ServerAccount();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  if (account != nullptr && (setgroups(0, nullptr) != 0 || setgid(account->pw_gid) != 0 || setuid(account->pw_uid) != 0)) _exit(126);
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

}  // namespace

std::unique_ptr<PostgresServer> PostgresServer::Start(const std::string& dir) {
  const std::string bin_dir = FindBinDir();
  if (bin_dir.empty() || (geteuid() == 0 && ServerAccount() == nullptr)) return nullptr;
  fs::remove_all(dir);
  EXPECT_TRUE(MakeFolders(dir).ok());
  if (const passwd* account = ServerAccount()) {
    EXPECT_EQ(chown(dir.c_str(), account->pw_uid, account->pw_gid), 0);
  }
  std::unique_ptr<PostgresServer> server(new PostgresServer(bin_dir, dir));
  const pid_t made = Launch({bin_dir + "/initdb", "-D", server->data_dir_, "-U", "entrain", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"},
                            dir + "/initdb.log");
  int status = 0;
  waitpid(made, &status, 0);
  EXPECT_EQ(status, 0) << ReadFile(dir + "/initdb.log").value_or("(no log)");
  server->Boot();
  return server;
}

void PostgresServer::Boot() {
  pid_ = Launch({bin_dir_ + "/postgres", "-D", data_dir_, "-k", dir_, "-h", "", "-c", "shared_buffers=16MB", "-c", "max_connections=60"},
                dir_ + "/server.log");
  const std::string info = StrCat("host=", dir_, " user=entrain dbname=postgres");
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (PQping(info.c_str()) != PQPING_OK) {
    if (std::chrono::steady_clock::now() > deadline || waitpid(pid_, nullptr, WNOHANG) == pid_) {
      FAIL() << "the PostgreSQL server does not start:\n" << ReadFile(dir_ + "/server.log").value_or("(no log)");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void PostgresServer::Crash() {
  if (pid_ <= 0) return;
  kill(pid_, SIGQUIT);
  waitpid(pid_, nullptr, 0);
  pid_ = 0;
}

PostgresServer::~PostgresServer() {
  Crash();
  std::error_code ignored;
  fs::remove_all(dir_, ignored);
}

void PostgresServer::Reload() const { kill(pid_, SIGHUP); }

std::string PostgresServer::Url(const std::string& schema, const std::string& socket_dir) const {
  const std::string admin = StrCat("host=", dir_, " user=entrain dbname=postgres");
  Sql(admin, StrCat("CREATE SCHEMA IF NOT EXISTS ", schema));
  return StrCat("host=", socket_dir.empty() ? dir_ : socket_dir, " user=entrain dbname=postgres options=-csearch_path=", schema);
}

std::string PostgresServer::Sql(const std::string& url, const std::string& statements) const {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> connection(PQconnectdb(url.c_str()), PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(connection.get(), statements.c_str()), PQclear);
  const ExecStatusType status = PQresultStatus(result.get());
  EXPECT_TRUE(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) << statements << ": " << PQerrorMessage(connection.get());
  return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
}

std::string PostgresServer::Dump(const std::string& schema) const {
  const std::string file = StrCat(dir_, "/", schema, ".sql");
  const std::string command = StrCat(bin_dir_, "/pg_dump -h ", dir_, " -U entrain --no-owner --inserts --rows-per-insert=1000 -n ", schema, " postgres > ", file);
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
  std::stringstream lines(ReadFile(file).value_or(""));
  std::string statements;
  // Lines with a backslash are psql's own commands.
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("\\")) StrAppend(&statements, line, "\n");
  }
  return statements;
}

}  // namespace entrain::testing
