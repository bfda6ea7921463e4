#include "worker/agent/launch_plan.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/convert.h"
#include "proto/journal.h"
#include "sweep/run_config_json.h"
#include "worker/agent/peer_grant.h"
#include "worker/launcher/gang_command.h"

namespace entrain::agent {
namespace {

using domain::AttemptEnd;
using domain::EndCause;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// Sets the folders that the attempt reads; ok, or how it ends without them.
absl::StatusOr<AttemptEnd> ResolveFolders(const v1::Launch& launch, const domain::RunConfig& config,
                                          const artifacts::ArtifactStore& store, attempt::AttemptSpec* spec) {
  absl::StatusOr<std::string> dataset = store.ResolveDataset(config.dataset.hash);
  if (!dataset.ok()) {
    const bool missing = absl::IsNotFound(dataset.status());
    return AttemptEnd{
        .cause = missing ? EndCause::kUserError : EndCause::kStorage,
        .message = StrCat("dataset ", config.dataset.ToString(), " is not readable under ", store.root(), ": ", Message(dataset.status()))};
  }
  spec->dataset_dir = *dataset;
  if (!launch.resume_from().path().empty()) {
    const absl::StatusOr<std::string> resume = store.Resolve(launch.resume_from().path());
    if (!resume.ok()) {
      return AttemptEnd{.cause = EndCause::kStorage,
                        .message = StrCat("checkpoint of step ", launch.resume_from().step(), " is not readable under ", store.root(), ": ",
                                          Message(resume.status()))};
    }
    spec->resume_dir = *resume;
    spec->allow_inexact_resume = launch.changed_settings();
  }
  if (!config.train.init_from.empty()) {
    const absl::StatusOr<std::string> init = store.Resolve(config.train.init_from);
    if (!init.ok()) {
      return AttemptEnd{.cause = EndCause::kUserError,
                        .message = StrCat("train.init_from is not readable under ", store.root(), ": ", Message(init.status()))};
    }
    spec->init_dir = *init;
  }
  return absl::NotFoundError("no end");
}

// The first IPv4 address of a host name, as digits; empty: it has none.
std::string ResolveIp(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0 || found == nullptr) return "";
  char text[INET_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr, text, sizeof(text));
  ::freeaddrinfo(found);
  return text;
}

// The name of the interface with this address; empty: this machine has none. (Open MPI takes an address with a mask as well, but a mask of
// 32 bits lets every interface through.)
std::string InterfaceOf(const std::string& ip) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return "";
  std::string name;
  for (const ifaddrs* entry = all; entry != nullptr && name.empty(); entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) continue;
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(entry->ifa_addr)->sin_addr, text, sizeof(text));
    if (ip == text) name = entry->ifa_name;
  }
  ::freeifaddrs(all);
  return name;
}

// How the gang's machines find each other; empty, or why they cannot.
std::string BindMachines(const v1::Launch& launch, int own, attempt::AttemptSpec* spec) {
  for (int i = 0; i < launch.gang_size(); ++i) {
    const v1::GangMember& member = launch.gang(i);
    if (member.peer_address().empty()) {
      return StrCat("worker ", member.worker_id(), " takes no part in gangs over several machines: it is away, or was started without --peer-listen");
    }
    if (member.slot_kind() != launch.gang(own).slot_kind()) {
      return StrCat("worker ", member.worker_id(), " offers ", member.slot_kind(), " slots, worker ", launch.gang(own).worker_id(), " ", launch.gang(own).slot_kind());
    }
    const std::size_t colon = member.peer_address().rfind(':');
    const std::string host = member.peer_address().substr(0, colon);
    const std::string ip = ResolveIp(host);
    if (ip.empty() || colon == std::string::npos) return StrCat("worker ", member.worker_id(), ": ", host, " has no IPv4 address");
    StrAppend(&spec->hosts, i == 0 ? "" : ",", ip, ":", member.slots_size());
    if (i == own) spec->network_interface = InterfaceOf(ip);
    if (i == own && spec->network_interface.empty()) return StrCat("the peer address ", ip, " is on no interface of worker ", member.worker_id());
    // The head watches all, the others the head.
    if (i != own && (own == 0 || i == 0)) StrAppend(&spec->watched, spec->watched.empty() ? "" : ",", ip, member.peer_address().substr(colon));
  }
  return "";
}

// This machine's part of the gang; empty when it has none that it could hold.
std::string BindSlots(const v1::Launch& launch, const domain::RunConfig& config, const domain::WorkerInfo& self, attempt::AttemptSpec* spec) {
  const int own = PlaceInGang(launch, self.id);
  if (own < 0 || launch.gang(own).slots().empty()) return StrCat("the gang has no slots of worker ", self.id.value());
  spec->slots.assign(launch.gang(own).slots().begin(), launch.gang(own).slots().end());
  std::int64_t ranks = 0;
  for (int i = 0; i < launch.gang_size(); ++i) {
    if (i == own) spec->first_rank = ranks;
    ranks += launch.gang(i).slots_size();
  }
  if (ranks != config.resources.WorldSize()) {
    return StrCat("the gang has ", ranks, " slots, its configuration wants ", config.resources.WorldSize(), " ranks");
  }
  for (const std::int32_t slot : spec->slots) {
    if (slot < 0 || slot >= self.slots) return StrCat("slot ", slot, " is not one of this worker's ", self.slots);
  }
  return SpansMachines(launch) ? BindMachines(launch, own, spec) : "";
}

}  // namespace

std::variant<attempt::AttemptSpec, AttemptEnd> PlanLaunch(const v1::Launch& launch, const domain::WorkerInfo& self,
                                                          const artifacts::ArtifactStore& store, const std::string& attempt_folder) {
  const absl::StatusOr<domain::RunConfig> config = sweep::ParseRunConfig(launch.config_json());
  if (!config.ok()) return AttemptEnd{.cause = EndCause::kUserError, .message = StrCat("run configuration: ", Message(config.status()))};
  attempt::AttemptSpec spec;
  spec.key = {RunId(launch.key().run_id()), launch.key().attempt()};
  if (const std::string problem = BindSlots(launch, *config, self, &spec); !problem.empty()) {
    return AttemptEnd{.cause = EndCause::kLaunch, .message = problem};
  }
  const absl::StatusOr<AttemptEnd> unresolved = ResolveFolders(launch, *config, store, &spec);
  if (unresolved.ok()) return *unresolved;
  spec.world_size = config->resources.WorldSize();
  // Of this machine: a gang for several may have found room on one.
  spec.ranks_per_machine = static_cast<std::int64_t>(spec.slots.size());
  spec.threads_per_rank = config->resources.threads_per_rank;
  const bool on_gpu = self.slot_kind == domain::SlotKind::kGpu;
  spec.device = on_gpu ? "cuda" : "cpu";
  spec.collective = spec.world_size == 1 ? "single" : on_gpu ? "nccl" : "mpi";
  if (!IsMember(spec)) spec.control_socket = launcher::RuntimePathsOf(attempt_folder, ::geteuid()).control_socket;
  return spec;
}

absl::StatusOr<domain::LaunchAttempt> LaunchFromWire(const v1::Launch& launch, const WorkerId& self) {
  domain::LaunchAttempt result;
  result.worker = self;
  ENTRAIN_ASSIGN_OR_RETURN(result.key, wire::FromWire(launch.key()));
  ENTRAIN_ASSIGN_OR_RETURN(result.gang, wire::FromWire(launch.gang()));
  ENTRAIN_ASSIGN_OR_RETURN(result.resume_from, wire::FromWire(launch.resume_from()));
  auto spec = std::make_shared<domain::RunSpec>();
  spec->config_json = launch.config_json();
  spec->label = launch.label();
  spec->variant = launch.variant();
  spec->n_layer = launch.n_layer();
  spec->n_head = launch.n_head();
  spec->context = launch.context();
  spec->steps = launch.steps();
  result.spec = std::move(spec);
  return result;
}

std::unique_ptr<policy::RunPolicy> PolicyOf(const v1::Launch& launch) {
  const absl::StatusOr<domain::HealthRules> rules = journal::DecodeHealthRules(launch.health());
  if (launch.health().empty() || !rules.ok()) return nullptr;
  return std::make_unique<policy::RunPolicy>(*rules, policy::RunShape{launch.n_layer(), launch.n_head(), launch.context(), launch.steps()});
}

metrics::RunLabels LabelsOf(const v1::Launch& launch) {
  return metrics::RunLabels{.run_id = launch.key().run_id(), .sweep = launch.sweep_name(), .variant = launch.variant(),
                            .label = launch.label(), .n_layer = launch.n_layer(), .n_head = launch.n_head(),
                            .context = launch.context(), .steps = launch.steps()};
}

}  // namespace entrain::agent
