#include "worker/launcher/gang_command.h"

#include "base/hash.h"
#include "base/strings.h"
#include "worker/launcher/process.h"

namespace entrain::launcher {
namespace {

// Names that a gang inherits from the daemon. Neither a sweep nor a client can add to them.
constexpr const char* kInherited[] = {
    "PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES", "NCCL_DEBUG", "NCCL_SOCKET_IFNAME", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};

// What exec-member reads. The first folder of PATH is where every machine has its own entrain-supervisor.
void AddMemberVariables(const attempt::AttemptSpec& spec, const ProgramPaths& programs, const RuntimePaths& runtime,
                        std::map<std::string, std::string>* result) {
  (*result)["PATH"] = StrCat(programs.supervisor.substr(0, programs.supervisor.rfind('/')), ":", (*result)["PATH"]);
  (*result)[kTrainerVariable] = programs.trainer;
  (*result)[kHostsVariable] = spec.hosts;
  (*result)[kInterfaceVariable] = spec.network_interface;
  (*result)[kSharedMemoryVariable] = runtime.shared_memory;
}

std::vector<std::string> Environment(const attempt::AttemptSpec& spec, const std::string& folder, const ProgramPaths& programs,
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
  if (SpansMachines(spec)) AddMemberVariables(spec, programs, runtime, &result);
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

// Several machines: our agent asks the others' workers to start orted, all of them from here, and every machine is bound to the one
// address under which the others know it.
std::vector<std::string> GangOverMachinesArguments(const attempt::AttemptSpec& spec, const ProgramPaths& programs) {
  return {programs.mpirun, "--noprefix", "-np", std::to_string(spec.world_size), "--host", spec.hosts, "--map-by", "slot",
          "--bind-to", "none", "--tag-output",
          "--mca", "orte_abort_on_non_zero_status", "1",
          "--mca", "plm", "rsh", "--mca", "plm_rsh_agent", programs.rsh_agent, "--mca", "plm_rsh_no_tree_spawn", "1",
          "--mca", "oob_tcp_if_include", spec.network_interface,
          "--mca", "btl", "self,vader,tcp",
          "entrain-supervisor", kMemberMode};
}

}  // namespace

RuntimePaths RuntimePathsOf(const std::string& folder, std::uint32_t uid) {
  const std::string name = StrCat("entrain-", uid, "/", HashHex(folder).substr(0, 8));
  return RuntimePaths{.control_socket = StrCat("/tmp/", name, ".sock"),
                      .temporary = StrCat("/tmp/", name),
                      .shared_memory = StrCat("/dev/shm/", name),
                      .grant = StrCat("/dev/shm/", name, ".grant")};
}

bool NeedsMpirun(const attempt::AttemptSpec& spec) { return spec.world_size > 1 || spec.collective != "single"; }

GangCommand MakeGangCommand(const attempt::AttemptSpec& spec, const std::string& folder, const ProgramPaths& programs,
                            const RuntimePaths& runtime, const std::map<std::string, std::string>& own_environment,
                            const OrtedParameters& orted) {
  GangCommand command;
  command.environment = Environment(spec, folder, programs, runtime, own_environment);
  if (SpansMachines(spec)) {
    command.arguments = IsMember(spec) ? OrtedArguments(orted, spec, programs.orted) : GangOverMachinesArguments(spec, programs);
    return command;
  }
  if (NeedsMpirun(spec)) command.arguments = MpirunArguments(spec, programs.mpirun, runtime);
  for (const std::string& argument : {programs.supervisor, std::string(kRankMode), programs.trainer,
                                      std::string("--attempt"), folder}) {
    command.arguments.push_back(argument);
  }
  return command;
}

}  // namespace entrain::launcher
