#include "worker/launcher/gang_command.h"

#include "base/hash.h"
#include "base/strings.h"
#include "worker/launcher/process.h"

namespace entrain::launcher {
namespace {

// Names that a gang inherits from the daemon. Neither a sweep nor a client can add to them.
constexpr const char* kInherited[] = {
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "NCCL_DEBUG", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};

std::vector<std::string> Environment(const attempt::AttemptSpec& spec, const std::string& folder,
                                     const RuntimePaths& runtime, const std::map<std::string, std::string>& own) {
  std::map<std::string, std::string> result;
  for (const char* name : kInherited) {
    if (const auto found = own.find(name); found != own.end()) result[name] = found->second;
  }
  result.try_emplace("PATH", "/usr/local/bin:/usr/bin:/bin");
  result["TMPDIR"] = runtime.temporary;
  result["OMP_NUM_THREADS"] = std::to_string(spec.threads_per_rank);
  result[kFolderVariable] = folder;
  result[kLifelineVariable] = folder + "/lifeline";
  if (NeedsMpirun(spec)) {
    result["OMPI_ALLOW_RUN_AS_ROOT"] = "1";
    result["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1";
  }
  std::vector<std::string> lines;
  for (const auto& [name, value] : result) lines.push_back(StrCat(name, "=", value));
  return lines;
}

// One machine: ranks talk through shared memory, and mpirun's own sockets stay on the loopback interface.
std::vector<std::string> MpirunArguments(const attempt::AttemptSpec& spec, const std::string& mpirun,
                                         const RuntimePaths& runtime) {
  return {mpirun, "-np", std::to_string(spec.world_size), "--bind-to", "none", "--oversubscribe", "--tag-output",
          "--mca", "orte_abort_on_non_zero_status", "1",
          "--mca", "oob_tcp_if_include", "lo",
          "--mca", "btl", "self,vader",
          "--mca", "btl_vader_backing_directory", runtime.shared_memory};
}

}  // namespace

RuntimePaths RuntimePathsOf(const std::string& folder, std::uint32_t uid) {
  const std::string name = StrCat("entrain-", uid, "/", HashHex(folder).substr(0, 8));
  return RuntimePaths{.control_socket = StrCat("/tmp/", name, ".sock"),
                      .temporary = StrCat("/tmp/", name),
                      .shared_memory = StrCat("/dev/shm/", name)};
}

bool NeedsMpirun(const attempt::AttemptSpec& spec) { return spec.world_size > 1 || spec.collective != "single"; }

GangCommand MakeGangCommand(const attempt::AttemptSpec& spec, const std::string& folder, const ProgramPaths& programs,
                            const RuntimePaths& runtime, const std::map<std::string, std::string>& own_environment) {
  GangCommand command;
  if (NeedsMpirun(spec)) command.arguments = MpirunArguments(spec, programs.mpirun, runtime);
  for (const std::string& argument : {programs.supervisor, std::string(kRankMode), programs.trainer,
                                      std::string("--attempt"), folder}) {
    command.arguments.push_back(argument);
  }
  command.environment = Environment(spec, folder, runtime, own_environment);
  return command;
}

}  // namespace entrain::launcher
