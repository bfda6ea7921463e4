// entrain-rsh-agent HOST orted ...: what mpirun starts instead of ssh. Asks the worker of that machine to start orted for the attempt whose
// gang this is, with the token that the head's daemon left for it, and returns once orted has a supervisor there.
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/build_id.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/agent/peer_client.h"
#include "worker/launcher/gang_command.h"
#include "worker/launcher/process.h"

namespace {

using namespace entrain;

constexpr char kUsage[] =
    "usage: entrain-rsh-agent HOST orted ARGUMENT...\n"
    "Started by mpirun inside a gang over several machines; not meant for people. Exit status: 0 started, 64 not the start of orted,\n"
    "69 the other worker could not be reached or refused.\n";
constexpr int kExitUsage = 64;
constexpr int kExitUnavailable = 69;

absl::StatusOr<int> MemberOf(const v1::Launch& launch, const std::string& host) {
  // mpirun says the address as the supervisor gave it; the launch may have a name in its place.
  const char* hosts = std::getenv(launcher::kHostsVariable);
  std::string_view rest = hosts == nullptr ? "" : hosts;
  for (int member = 0; member < launch.gang_size() && !rest.empty(); ++member) {
    const std::string_view entry = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    if (member > 0 && entry.substr(0, entry.find(':')) == host) return member;
  }
  return absl::PermissionDeniedError(StrCat(host, " is no other machine of this gang"));
}

absl::Status Start(const std::string& host, const std::vector<std::string>& words) {
  ENTRAIN_ASSIGN_OR_RETURN(const launcher::OrtedParameters parameters, launcher::ParseOrtedCommand(words));
  const char* folder = std::getenv(launcher::kFolderVariable);
  if (folder == nullptr) return absl::FailedPreconditionError("not inside a gang of entrain");
  ENTRAIN_ASSIGN_OR_RETURN(const agent::PeerClient client, agent::PeerClient::FromStored(launcher::RuntimePathsOf(folder, ::geteuid()).grant));
  ENTRAIN_ASSIGN_OR_RETURN(const int member, MemberOf(client.launch(), host));
  return client.StartDaemon(member, parameters);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::printf("%s\n", VersionLine("entrain-rsh-agent").c_str());
    return 0;
  }
  if (argc < 3) {
    std::fputs(kUsage, argc == 2 && std::strcmp(argv[1], "--help") == 0 ? stdout : stderr);
    return argc == 2 && std::strcmp(argv[1], "--help") == 0 ? 0 : kExitUsage;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGPIPE, SIG_IGN);
  ::setenv("GRPC_VERBOSITY", "NONE", 0);
  const absl::Status started = Start(argv[1], std::vector<std::string>(argv + 2, argv + argc));
  if (started.ok()) return 0;
  std::fprintf(stderr, "entrain-rsh-agent: %s: %s\n", argv[1], std::string(started.message()).c_str());
  return absl::IsInvalidArgument(started) ? kExitUsage : kExitUnavailable;
}
