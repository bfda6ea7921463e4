// A coordinator's Launch -> what this machine does about it.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "artifacts/artifact_store.h"
#include "domain/effect.h"
#include "domain/fleet.h"
#include "entrain/v1/fleet_service.pb.h"
#include "metrics/worker_metrics.h"
#include "policy/policy.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::agent {

// The attempt's local bindings, or how it ended before it began. Reads the artifact root.
std::variant<attempt::AttemptSpec, domain::AttemptEnd> PlanLaunch(const v1::Launch& launch, const domain::WorkerInfo& self,
                                                                  const artifacts::ArtifactStore& store,
                                                                  const std::string& attempt_folder);

// What of it the worker's state machine takes. INVALID_ARGUMENT names the field.
absl::StatusOr<domain::LaunchAttempt> LaunchFromWire(const v1::Launch& launch, const WorkerId& self);

metrics::RunLabels LabelsOf(const v1::Launch& launch);

// The run's health rules, for while the coordinator is away; null without any.
std::unique_ptr<policy::RunPolicy> PolicyOf(const v1::Launch& launch);

}  // namespace entrain::agent
