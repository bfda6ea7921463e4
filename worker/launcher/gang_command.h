// What a supervisor executes: the arguments and the whole environment of a gang's first process. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "worker/attempt/attempt_folder.h"
#include "worker/launcher/orted.h"

namespace entrain::launcher {

struct ProgramPaths {
  std::string trainer;
  std::string supervisor;  // also starts each rank, see kRankMode
  std::string mpirun;      // absolute, or empty when it was not found
  // For gangs over several machines; empty when they were not found.
  std::string orted = {};
  std::string rsh_agent = {};  // entrain-rsh-agent
};

// `entrain-supervisor exec-rank PROGRAM ARGS...` binds the rank's life to its parent's and becomes PROGRAM.
inline constexpr char kRankMode[] = "exec-rank";
// `entrain-supervisor exec-member`, the same words on every machine of a gang: as exec-rank with this machine's own trainer and folder,
// which its supervisor left in the environment, and with MPI bound to this machine's address.
inline constexpr char kMemberMode[] = "exec-member";
inline constexpr char kTrainerVariable[] = "ENTRAIN_TRAINER";
inline constexpr char kHostsVariable[] = "ENTRAIN_HOSTS";
inline constexpr char kInterfaceVariable[] = "ENTRAIN_INTERFACE";
inline constexpr char kSharedMemoryVariable[] = "ENTRAIN_SHARED_MEMORY";
// A FIFO whose only writer is the supervisor; a rank that reads it sees it hang up when the supervisor is gone.
inline constexpr char kLifelineVariable[] = "ENTRAIN_LIFELINE";

struct GangCommand {
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // NAME=value
};

// Where an attempt keeps what needs a short path or must vanish with it.
struct RuntimePaths {
  std::string control_socket;
  std::string temporary;  // TMPDIR of the gang
  std::string shared_memory;  // folder of its shared-memory files
  std::string grant;          // in memory: the token for the gang's other machines, of its user alone
};
// A function of the folder alone, under /tmp/entrain-<uid> (a socket's path has about 100 characters).
RuntimePaths RuntimePathsOf(const std::string& folder, std::uint32_t uid);

// True when ranks are started by mpirun; a single rank runs directly under the supervisor.
bool NeedsMpirun(const attempt::AttemptSpec& spec);

// The environment has only what stands in a fixed list of names, taken from `own_environment`, and what the gang itself needs. `orted`
// counts on a gang's machines other than the head's.
GangCommand MakeGangCommand(const attempt::AttemptSpec& spec, const std::string& folder, const ProgramPaths& programs,
                            const RuntimePaths& runtime, const std::map<std::string, std::string>& own_environment,
                            const OrtedParameters& orted = {});

}  // namespace entrain::launcher
