// entrain-supervisor: the parent of one attempt's gang. Started by the worker daemon; not meant for people.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/build_id.h"
#include "base/strings.h"
#include "worker/launcher/supervisor.h"

extern char** environ;

namespace {

using entrain::launcher::Supervisor;
using entrain::launcher::SupervisorSettings;

constexpr char kUsage[] =
    "usage: entrain-supervisor ATTEMPT_FOLDER --trainer PATH [--mpirun PATH] [--daemon-absence-limit-ms N] [--grace-ms N]\n"
    "                          [--checkpoint-grace-ms N] [--finished-grace-ms N] [--heartbeat-timeout-ms N]\n"
    "                          [--link-timeout-ms N] [--orted PATH] [--rsh-agent PATH] [--foreground]\n"
    "       entrain-supervisor exec-rank PROGRAM [ARGUMENT...]\n"
    "       entrain-supervisor exec-member\n"
    "Starts the gang of one attempt, watches it and leaves no process behind. Returns once the gang has a supervisor; with\n"
    "--foreground, once the gang has ended. Exit status: 0 started, 2 wrong arguments, 3 the attempt was started before, 1 other.\n";

struct Arguments {
  std::string folder;
  SupervisorSettings settings;
  bool foreground = false;
};

std::optional<Arguments> Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--foreground") {
      arguments.foreground = true;
    } else if (name.rfind("--", 0) != 0) {
      if (!arguments.folder.empty()) return std::nullopt;
      arguments.folder = name;
    } else if (i + 1 >= argc) {
      return std::nullopt;
    } else {
      const char* value = argv[++i];
      if (name == "--trainer") arguments.settings.programs.trainer = value;
      else if (name == "--mpirun") arguments.settings.programs.mpirun = value;
      else if (name == "--orted") arguments.settings.programs.orted = value;
      else if (name == "--rsh-agent") arguments.settings.programs.rsh_agent = value;
      else if (name == "--heartbeat-timeout-ms") arguments.settings.heartbeat_timeout_ms = std::atoll(value);
      else if (name == "--link-timeout-ms") arguments.settings.link_timeout_ms = std::atoll(value);
      else if (name == "--daemon-absence-limit-ms") arguments.settings.daemon_absence_limit_ms = std::atoll(value);
      else if (name == "--grace-ms") arguments.settings.grace_ms = std::atoll(value);
      else if (name == "--checkpoint-grace-ms") arguments.settings.checkpoint_grace_ms = std::atoll(value);
      else if (name == "--finished-grace-ms") arguments.settings.finished_grace_ms = std::atoll(value);
      else return std::nullopt;
    }
  }
  if (arguments.folder.empty() || arguments.folder.front() != '/' || arguments.settings.programs.trainer.empty()) return std::nullopt;
  return arguments;
}

std::map<std::string, std::string> OwnEnvironment() {
  std::map<std::string, std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    char* equals = std::strchr(*entry, '=');
    if (equals != nullptr) result.emplace(std::string(*entry, equals), equals + 1);
  }
  return result;
}

std::string OwnPath() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof(path));
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : "";
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "entrain-supervisor: %s\n", std::string(status.message()).c_str());
  return absl::IsAlreadyExists(status) ? 3 : 1;
}

// Leaves the caller's session and process tree. The first process waits until the second has claimed the folder, and returns its
// answer; the second returns -1 here and goes on.
int Detach(int report[2]) {
  if (::pipe2(report, O_CLOEXEC) != 0) return 1;
  const pid_t child = ::fork();
  if (child < 0) return 1;
  if (child == 0) {
    ::close(report[0]);
    ::setsid();
    return -1;
  }
  ::close(report[1]);
  unsigned char answer = 1;
  return ::read(report[0], &answer, 1) == 1 ? answer : 1;
}

int Watch(const Arguments& arguments, int report_fd) {
  const entrain::SystemClock clock;
  Supervisor supervisor(arguments.folder, arguments.settings, &clock);
  const absl::Status claimed = supervisor.Claim();
  const unsigned char answer = claimed.ok() ? 0 : static_cast<unsigned char>(Fail(claimed));
  if (report_fd >= 0) {
    if (::write(report_fd, &answer, 1) != 1) return 1;
    ::close(report_fd);
  }
  if (!claimed.ok()) return answer;
  const absl::Status ended = supervisor.Run(OwnEnvironment());
  return ended.ok() ? 0 : Fail(ended);
}

int ExecuteMember() {
  std::fprintf(stderr, "entrain-supervisor: %s\n", std::string(entrain::launcher::ExecuteMember().message()).c_str());
  return 127;
}

int ExecuteRank(int argc, char** argv) {
  if (argc < 3) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  std::fprintf(stderr, "entrain-supervisor: %s\n",
               std::string(entrain::launcher::ExecuteRank(argv + 2).message()).c_str());
  return 127;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("%s\n", entrain::VersionLine("entrain-supervisor").c_str());
    return 0;
  }
  if (argc >= 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (argc == 2 && std::strcmp(argv[1], entrain::launcher::kMemberMode) == 0) return ExecuteMember();
  if (argc >= 2 && std::strcmp(argv[1], entrain::launcher::kRankMode) == 0) return ExecuteRank(argc, argv);
  std::optional<Arguments> arguments = Parse(argc, argv);
  if (!arguments) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  arguments->settings.programs.supervisor = OwnPath();
  ::close_range(3, ~0u, 0);
  if (arguments->foreground) return Watch(*arguments, -1);
  int report[2];
  const int answer = Detach(report);
  return answer >= 0 ? answer : Watch(*arguments, report[1]);
}
