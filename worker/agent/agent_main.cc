// entrain-worker: the daemon on every machine.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "base/build_id.h"
#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/agent/agent.h"
#include "worker/agent/coordinator_files.h"
#include "worker/agent/device_probe.h"
#include "worker/agent/worker_identity.h"

namespace {

using namespace entrain;
using namespace entrain::agent;

struct Flags {
  std::vector<std::string> coordinators;
  std::string dir;
  std::string artifacts;
  std::string slots = "auto";
  std::string slot_kind = "auto";
  std::string metrics = "127.0.0.1:0";
  std::string metrics_address_file;
  std::int64_t metrics_max_heads = metrics::kMaxHeadSeries;
  std::string name;
  launcher::ProgramPaths programs;
  transport::TlsFiles tls;
  std::int64_t dataset_cache_bytes = 50'000'000'000;
  std::int64_t drain_limit_ms = 60'000;
  std::int64_t daemon_absence_limit_ms = 600'000;
  std::int64_t isolation_limit_ms = 24LL * 60 * 60 * 1000;
  std::int64_t link_timeout_ms = 15'000;
  std::int64_t heartbeat_timeout_ms = 10'000;
  std::string peer_listen;
  std::string peer_address;
  bool verbose = false;
};

constexpr char kExamples[] =
    "Examples:\n"
    "  entrain-worker --coordinator 127.0.0.1:7070 --dir ./worker --artifacts ./artifacts\n"
    "  entrain-worker --coordinator a:7070,b:7070 --dir /var/lib/entrain --artifacts /mnt/entrain --slots 4 --slot-kind cpu\n"
    "  entrain-worker --coordinator a:7070 --dir /var/lib/entrain      nothing shared: datasets and checkpoints travel\n"
    "SIGTERM or SIGINT: every gang stops at a checkpoint, then the daemon ends. A second signal ends the daemon at once and\n"
    "leaves its gangs running; the next daemon in the same folder takes them over.";

void AddFlags(CLI::App& app, Flags* flags) {
  app.set_version_flag("--version", VersionLine("entrain-worker"));
  app.footer(kExamples);
  app.add_option("--coordinator", flags->coordinators, "HOST:PORT of the coordinator; several, separated by commas, are tried in turn")
      ->required()->delimiter(',');
  app.add_option("--dir", flags->dir, "State folder of this worker, on local disk")->required();
  app.add_option("--artifacts", flags->artifacts,
                 "Artifact root that this machine shares with the coordinator. Without it datasets and checkpoints travel over the network");
  app.add_option("--dataset-cache-bytes", flags->dataset_cache_bytes,
                 "Datasets that are not under --artifacts are fetched from the coordinator and kept in DIR/datasets up to this size")
      ->check(CLI::NonNegativeNumber)->capture_default_str();
  app.add_option("--slots", flags->slots, "Ranks that may run here at once, or auto: GPUs if there are, else cores")->capture_default_str();
  app.add_option("--slot-kind", flags->slot_kind, "What a slot is")->check(CLI::IsMember({"auto", "cpu", "gpu"}))->capture_default_str();
  app.add_option("--metrics", flags->metrics, "HOST:PORT for Prometheus; port 0 takes a free one")->capture_default_str();
  app.add_option("--metrics-address-file", flags->metrics_address_file, "Where to write the address that was taken");
  app.add_option("--metrics-max-heads", flags->metrics_max_heads, "Attention heads that may have series of their own at one time")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--name", flags->name, "Name of this worker for people; default: the host's name");
  app.add_option("--trainer", flags->programs.trainer, "entrain-trainer; default: beside this program");
  app.add_option("--supervisor", flags->programs.supervisor, "entrain-supervisor; default: beside this program");
  app.add_option("--mpirun", flags->programs.mpirun, "mpirun of Open MPI; default: found in PATH");
  app.add_option("--tls-ca", flags->tls.ca, "Certificates that the coordinator's is checked against (PEM); turns TLS on");
  app.add_option("--tls-cert", flags->tls.certificate, "This worker's certificate (PEM)");
  app.add_option("--tls-key", flags->tls.key, "Its private key (PEM)");
  app.add_option("--drain-limit-ms", flags->drain_limit_ms, "From the first signal to the end at the latest")->capture_default_str();
  app.add_option("--daemon-absence-limit-ms", flags->daemon_absence_limit_ms, "How long gangs run on without a daemon")->capture_default_str();
  app.add_option("--isolation-limit-ms", flags->isolation_limit_ms, "How long gangs run on without a coordinator")->capture_default_str();
  app.add_option("--peer-listen", flags->peer_listen,
                 "HOST:PORT at which the other workers of a gang reach this one; port 0 takes a free one. Needs TLS; without it no gang spans this machine");
  app.add_option("--peer-address", flags->peer_address, "HOST or HOST:PORT that they dial; default: as listened at");
  app.add_option("--link-timeout-ms", flags->link_timeout_ms, "A gang's machine that does not answer for so long is lost, and the gang ends")
      ->check(CLI::Range(1'000, 3'600'000))->capture_default_str();
  app.add_option("--heartbeat-timeout-ms", flags->heartbeat_timeout_ms, "A rank whose process does not run for so long is frozen, and the gang ends")
      ->check(CLI::Range(2'000, 3'600'000))->capture_default_str();
  app.add_flag("--verbose", flags->verbose, "Log more");
}

std::string OwnPath() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

std::string HostName() {
  char name[256] = "worker";
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

// Without a driver a container will have no GPU until it is made anew: the fault is the flags'. With one, it may be a matter of time.
absl::Status TooFewGpus(const Devices& devices, const std::string& flag) {
  const std::string offer = devices.count == 0 ? "no GPU: " + devices.missing : StrCat(devices.count, " GPUs");
  return absl::Status(devices.driver ? absl::StatusCode::kUnavailable : absl::StatusCode::kInvalidArgument, StrCat(flag, ": this machine offers ", offer));
}

absl::StatusOr<domain::WorkerInfo> DescribeSelf(const Flags& flags) {
  domain::WorkerInfo info;
  info.name = flags.name.empty() ? HostName() : flags.name;
  info.version = std::string(BuildId());
  Devices devices = flags.slot_kind == "cpu" ? ProbeCores() : ProbeGpus();
  if (flags.slot_kind == "auto" && devices.count == 0) devices = ProbeCores();
  if (flags.slots != "auto") {
    char* end = nullptr;
    const long count = std::strtol(flags.slots.c_str(), &end, 10);
    if (*end != '\0' || count < 1 || count > 4096) {
      return absl::InvalidArgumentError(StrCat("--slots must be auto or a number from 1 to 4096, not \"", flags.slots, "\""));
    }
    if (devices.kind == domain::SlotKind::kGpu && count > devices.count) {
      return TooFewGpus(devices, StrCat("--slots ", count));
    }
    devices.count = static_cast<std::int32_t>(count);
  }
  if (devices.count == 0) return TooFewGpus(devices, "--slot-kind gpu");
  info.slot_kind = devices.kind;
  info.slots = devices.count;
  info.device = devices.model;
  return info;
}

absl::StatusOr<launcher::ProgramPaths> Programs(const Flags& flags) {
  const char* path = std::getenv("PATH");
  const launcher::ProgramPaths found = launcher::FindPrograms(OwnPath(), path == nullptr ? "/usr/local/bin:/usr/bin:/bin" : path);
  launcher::ProgramPaths programs;
  const auto choose = [](const std::string& given, const std::string& fallback) {
    return given.empty() ? fallback : std::filesystem::absolute(given).string();
  };
  programs.trainer = choose(flags.programs.trainer, found.trainer);
  programs.supervisor = choose(flags.programs.supervisor, found.supervisor);
  programs.mpirun = choose(flags.programs.mpirun, found.mpirun);
  programs.orted = found.orted;
  programs.rsh_agent = found.rsh_agent;
  for (const auto& [name, program] : {std::pair{"trainer", programs.trainer}, std::pair{"supervisor", programs.supervisor}}) {
    if (program.empty() || ::access(program.c_str(), X_OK) != 0) {
      return absl::NotFoundError(StrCat("entrain-", name, " is not executable", program.empty() ? " beside this program" : ": " + program,
                                        "; name it with --", name));
    }
  }
  if (programs.mpirun.empty()) {
    Log(LogLevel::kWarning, "mpirun is not in PATH: gangs of several ranks will fail to launch", {});
  }
  return programs;
}

// The first signal drains, the second ends this process at once.
void HandleSignals(Agent* agent) {
  std::thread([agent] {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    int signal = 0;
    ::sigwait(&signals, &signal);
    agent->Drain(signal == SIGINT ? "interrupted" : "asked to terminate");
    // The end of a parent (PR_SET_PDEATHSIG, SIGTERM) may send the signal once for each of its threads: that is one request. A
    // person's second Ctrl-C counts at once.
    if (signal == SIGTERM) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      const timespec none{};
      while (::sigtimedwait(&signals, nullptr, &none) > 0) {
      }
    }
    ::sigwait(&signals, &signal);
    Log(LogLevel::kWarning, "second signal: ending at once, gangs stay", {});
    ::_exit(130);
  }).detach();
}

// Before any thread exists, so that all of them inherit it.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

absl::StatusOr<bool> RunWorker(const Flags& flags, domain::WorkerInfo self) {
  static const SystemClock clock;
  SystemIdSource ids;
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(flags.dir));
  AgentOptions options;
  options.dir = std::filesystem::canonical(flags.dir).string();
  options.coordinators = flags.coordinators;
  options.tls = flags.tls;
  options.drain_limit_ms = flags.drain_limit_ms;
  options.launch.daemon_absence_limit_ms = flags.daemon_absence_limit_ms;
  options.core.isolation_limit_ms = flags.isolation_limit_ms;
  options.launch.link_timeout_ms = flags.link_timeout_ms;
  options.launch.heartbeat_timeout_ms = flags.heartbeat_timeout_ms;
  options.peer_listen = flags.peer_listen;
  options.peer_address = flags.peer_address;
  options.self = std::move(self);
  ENTRAIN_ASSIGN_OR_RETURN(options.launch.programs, Programs(flags));
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<WorkerIdentity> identity, WorkerIdentity::Open(options.dir, &ids));
  options.self.id = identity->id();
  options.first_number = identity->first_number();
  ENTRAIN_ASSIGN_OR_RETURN(
      const std::unique_ptr<artifacts::ArtifactStore> store,
      OpenWorkerArtifacts({flags.artifacts, options.dir, flags.dataset_cache_bytes, options.coordinators, options.tls}));
  const metrics::SeriesLimits limits{.max_heads = flags.metrics_max_heads};
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<metrics::WorkerMetrics> metrics,
                           metrics::WorkerMetrics::Serve(flags.metrics, &clock, metrics::kWindowMs, limits));
  const std::string metrics_address = StrCat(flags.metrics.substr(0, flags.metrics.rfind(':')), ":", metrics->port());
  if (!flags.metrics_address_file.empty()) {
    ENTRAIN_RETURN_IF_ERROR(WriteFileAtomically(flags.metrics_address_file, metrics_address + "\n"));
  }
  Log(LogLevel::kInfo, "worker", {{"id", options.self.id.value()}, {"slots", std::to_string(options.self.slots)},
                                  {"device", options.self.device}, {"metrics", metrics_address}, {"build", options.self.version}});
  Agent agent(std::move(options), store.get(), metrics.get(), &clock);
  ENTRAIN_RETURN_IF_ERROR(agent.ListenToPeers());
  HandleSignals(&agent);
  return agent.Run();
}

}  // namespace

int main(int argc, char** argv) {
  SetLogComponent("entrain-worker");
  Flags flags;
  CLI::App app("Runs gangs of ranks on this machine for an entrain coordinator.", "entrain-worker");
  AddFlags(app, &flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 64;
  }
  if (flags.verbose) SetLogLevel(LogLevel::kDebug);
  BlockSignals();
  const auto refuse = [](const absl::Status& status, int code) {
    std::fprintf(stderr, "entrain-worker: %s\n", std::string(status.message()).c_str());
    return code;
  };
  absl::StatusOr<domain::WorkerInfo> self = DescribeSelf(flags);
  if (!self.ok()) return refuse(self.status(), absl::IsInvalidArgument(self.status()) ? 64 : 1);
  const absl::StatusOr<bool> drained = RunWorker(flags, *std::move(self));
  if (!drained.ok()) return refuse(drained.status(), 1);
  return *drained ? 0 : 1;
}
