#include "base/spawn.h"

#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include "base/files.h"

namespace entrain {
namespace {

std::vector<char*> Pointers(std::vector<std::string>* texts) {
  std::vector<char*> pointers;
  for (std::string& text : *texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

absl::StatusOr<pid_t> Spawn(std::vector<std::string> arguments, SpawnOptions options) {
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (int i = 0; i < static_cast<int>(options.streams.size()); ++i) {
    posix_spawn_file_actions_adddup2(&files, options.streams[static_cast<std::size_t>(i)], i);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigfillset(&defaults);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  const int session = options.new_session ? POSIX_SPAWN_SETSID : 0;
  posix_spawnattr_setflags(&attributes, static_cast<short>(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | session));
  const std::vector<char*> argv = Pointers(&arguments);
  std::vector<char*> envp;
  if (options.environment.has_value()) envp = Pointers(&*options.environment);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, arguments[0].c_str(), &files, &attributes, argv.data(), envp.empty() ? environ : envp.data());
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return ErrnoStatus(error, "execute", arguments[0]);
  return pid;
}

}  // namespace entrain
