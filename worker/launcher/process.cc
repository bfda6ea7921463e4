#include "worker/launcher/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::launcher {
namespace {

std::vector<ProcessStat> AllProcesses() {
  std::vector<ProcessStat> all;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return all;
  while (const dirent* entry = ::readdir(proc)) {
    const pid_t pid = std::atoi(entry->d_name);
    if (pid <= 0) continue;
    if (std::optional<ProcessStat> stat = ReadStat(pid)) all.push_back(*stat);
  }
  ::closedir(proc);
  return all;
}

bool CarriesFolder(pid_t pid, const std::string& folder) {
  const absl::StatusOr<std::string> environment = ReadFile(StrCat("/proc/", pid, "/environ"));
  if (!environment.ok()) return false;
  const std::string entry = StrCat(kFolderVariable, "=", folder) + '\0';
  const std::size_t at = environment->find(entry);
  return at == 0 || (at != std::string::npos && (*environment)[at - 1] == '\0');
}

bool DescendsFrom(pid_t pid, pid_t ancestor, const std::map<pid_t, pid_t>& parents) {
  for (int depth = 0; depth < 64 && pid > 1; ++depth) {
    const auto found = parents.find(pid);
    if (found == parents.end()) return false;
    if (found->second == ancestor) return true;
    pid = found->second;
  }
  return false;
}

}  // namespace

std::string BootId() {
  absl::StatusOr<std::string> text = ReadFile("/proc/sys/kernel/random/boot_id");
  if (!text.ok()) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  return *std::move(text);
}

std::optional<ProcessStat> ReadStat(pid_t pid) {
  const absl::StatusOr<std::string> text = ReadFile(StrCat("/proc/", pid, "/stat"));
  if (!text.ok()) return std::nullopt;
  // The command's name is free text in parentheses; the fields follow its last one.
  const std::size_t close = text->rfind(')');
  if (close == std::string::npos) return std::nullopt;
  ProcessStat stat;
  stat.pid = pid;
  unsigned long long start = 0;
  const int fields = std::sscanf(text->c_str() + close + 1,
                                 " %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                                 &stat.state, &stat.parent, &stat.session, &start);
  if (fields != 4) return std::nullopt;
  stat.start_ticks = start;
  return stat;
}

ProcessIdentity IdentityOf(pid_t pid) {
  ProcessIdentity identity;
  identity.pid = pid;
  if (const std::optional<ProcessStat> stat = ReadStat(pid)) identity.start_ticks = stat->start_ticks;
  identity.boot_id = BootId();
  return identity;
}

bool IsAlive(const ProcessIdentity& identity) {
  if (identity.pid <= 0 || identity.boot_id != BootId()) return false;
  const std::optional<ProcessStat> stat = ReadStat(identity.pid);
  return stat && stat->state != 'Z' && stat->state != 'X' && stat->start_ticks == identity.start_ticks;
}

bool SignalProcess(const ProcessIdentity& identity, int signal) {
  // The descriptor pins the process between the check and the signal.
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, identity.pid, 0));
  if (descriptor < 0) return false;
  const bool sent = IsAlive(identity) && ::syscall(SYS_pidfd_send_signal, descriptor, signal, nullptr, 0) == 0;
  ::close(descriptor);
  return sent;
}

std::vector<pid_t> GangProcesses(pid_t session, pid_t ancestor, const std::string& folder) {
  const std::vector<ProcessStat> all = AllProcesses();
  std::map<pid_t, pid_t> parents;
  for (const ProcessStat& stat : all) parents[stat.pid] = stat.parent;
  std::vector<pid_t> gang;
  for (const ProcessStat& stat : all) {
    if (stat.state == 'Z' || stat.state == 'X' || stat.pid == ::getpid() || stat.pid == ancestor) continue;
    const bool member = (session > 0 && stat.session == session) ||
                        (ancestor > 0 && DescendsFrom(stat.pid, ancestor, parents)) || CarriesFolder(stat.pid, folder);
    if (member) gang.push_back(stat.pid);
  }
  return gang;
}

std::vector<pid_t> RankProcesses(const std::string& folder) {
  const std::string end = StrCat("--attempt", std::string_view("\0", 1), folder, std::string_view("\0", 1));
  std::vector<pid_t> ranks;
  for (const pid_t pid : GangProcesses(0, 0, folder)) {
    const std::string command = ReadFile(StrCat("/proc/", pid, "/cmdline")).value_or("");
    // TRAINER --attempt FOLDER, and not what starts it with these words at its end.
    const std::size_t program_end = command.find('\0');
    if (program_end != std::string::npos && command.substr(program_end + 1) == end) ranks.push_back(pid);
  }
  return ranks;
}

}  // namespace entrain::launcher
