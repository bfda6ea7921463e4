#include "worker/agent/launch_plan.h"

#include <unistd.h>

#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/convert.h"
#include "proto/journal.h"
#include "sweep/run_config_json.h"
#include "worker/launcher/gang_command.h"

namespace entrain::agent {
namespace {

using domain::AttemptEnd;
using domain::EndCause;

AttemptEnd EndAtOnce(EndCause cause, std::string message) {
  AttemptEnd end;
  end.cause = cause;
  end.message = std::move(message);
  return end;
}

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// Sets the folders that the attempt reads; ok, or how it ends without them.
absl::StatusOr<AttemptEnd> ResolveFolders(const v1::Launch& launch, const domain::RunConfig& config,
                                          const artifacts::ArtifactStore& store, attempt::AttemptSpec* spec) {
  absl::StatusOr<std::string> dataset = store.ResolveDataset(config.dataset.hash);
  if (!dataset.ok()) {
    const bool missing = absl::IsNotFound(dataset.status());
    return EndAtOnce(missing ? EndCause::kUserError : EndCause::kStorage,
                     StrCat("dataset ", config.dataset.ToString(), " is not readable under ", store.root(), ": ", Message(dataset.status())));
  }
  spec->dataset_dir = *dataset;
  if (!launch.resume_from().path().empty()) {
    const absl::StatusOr<std::string> resume = store.Resolve(launch.resume_from().path());
    if (!resume.ok()) {
      return EndAtOnce(EndCause::kStorage, StrCat("checkpoint of step ", launch.resume_from().step(), " is not readable under ",
                                                  store.root(), ": ", Message(resume.status())));
    }
    spec->resume_dir = *resume;
    spec->allow_inexact_resume = launch.changed_settings();
  }
  if (!config.train.init_from.empty()) {
    const absl::StatusOr<std::string> init = store.Resolve(config.train.init_from);
    if (!init.ok()) {
      return EndAtOnce(EndCause::kUserError, StrCat("train.init_from is not readable under ", store.root(), ": ", Message(init.status())));
    }
    spec->init_dir = *init;
  }
  return absl::NotFoundError("no end");
}

// This machine's part of the gang; empty when it has none that it could hold.
std::string BindSlots(const v1::Launch& launch, const domain::RunConfig& config, const domain::WorkerInfo& self, attempt::AttemptSpec* spec) {
  for (const v1::GangMember& member : launch.gang()) {
    if (member.worker_id() == self.id.value()) spec->slots.assign(member.slots().begin(), member.slots().end());
  }
  if (launch.gang_size() != config.resources.machines) {
    return StrCat("the gang has ", launch.gang_size(), " machines, its configuration wants ", config.resources.machines);
  }
  if (launch.gang_size() != 1) return StrCat("this worker launches gangs of one machine; this one has ", launch.gang_size());
  if (static_cast<std::int64_t>(spec->slots.size()) != config.resources.ranks_per_machine) {
    return StrCat("the gang has ", spec->slots.size(), " slots of worker ", self.id.value(), " for ", config.resources.ranks_per_machine, " ranks");
  }
  for (const std::int32_t slot : spec->slots) {
    if (slot < 0 || slot >= self.slots) return StrCat("slot ", slot, " is not one of this worker's ", self.slots);
  }
  return "";
}

}  // namespace

std::variant<attempt::AttemptSpec, AttemptEnd> PlanLaunch(const v1::Launch& launch, const domain::WorkerInfo& self,
                                                          const artifacts::ArtifactStore& store, const std::string& attempt_folder) {
  const absl::StatusOr<domain::RunConfig> config = sweep::ParseRunConfig(launch.config_json());
  if (!config.ok()) return EndAtOnce(EndCause::kUserError, StrCat("run configuration: ", Message(config.status())));
  attempt::AttemptSpec spec;
  spec.key = {RunId(launch.key().run_id()), launch.key().attempt()};
  if (const std::string problem = BindSlots(launch, *config, self, &spec); !problem.empty()) return EndAtOnce(EndCause::kLaunch, problem);
  const absl::StatusOr<AttemptEnd> unresolved = ResolveFolders(launch, *config, store, &spec);
  if (unresolved.ok()) return *unresolved;
  spec.world_size = config->resources.WorldSize();
  spec.ranks_per_machine = config->resources.ranks_per_machine;
  spec.threads_per_rank = config->resources.threads_per_rank;
  const bool on_gpu = self.slot_kind == domain::SlotKind::kGpu;
  spec.device = on_gpu ? "cuda" : "cpu";
  spec.collective = spec.world_size == 1 ? "single" : on_gpu ? "nccl" : "mpi";
  spec.control_socket = launcher::RuntimePathsOf(attempt_folder, ::geteuid()).control_socket;
  return spec;
}

absl::StatusOr<domain::LaunchAttempt> LaunchFromWire(const v1::Launch& launch, const WorkerId& self) {
  domain::LaunchAttempt result;
  result.worker = self;
  ENTRAIN_ASSIGN_OR_RETURN(result.key, wire::FromWire(launch.key()));
  ENTRAIN_ASSIGN_OR_RETURN(result.gang, wire::FromWire(launch.gang()));
  ENTRAIN_ASSIGN_OR_RETURN(result.resume_from, wire::FromWire(launch.resume_from()));
  result.spec.config_json = launch.config_json();
  result.spec.label = launch.label();
  result.spec.variant = launch.variant();
  result.spec.n_layer = launch.n_layer();
  result.spec.n_head = launch.n_head();
  result.spec.context = launch.context();
  result.spec.steps = launch.steps();
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
