#include "coordinator/rpc/method_rules.h"

#include <algorithm>

namespace entrain::rpc {
namespace {

using transport::Role;

constexpr MethodRule kRules[] = {
    {"/entrain.v1.SweepService/Validate", Role::kView},
    {"/entrain.v1.SweepService/Submit", Role::kSubmit},
    {"/entrain.v1.SweepService/ListSweeps", Role::kView},
    {"/entrain.v1.SweepService/GetSweep", Role::kView},
    {"/entrain.v1.SweepService/GetRun", Role::kView},
    {"/entrain.v1.SweepService/Watch", Role::kView},
    // What is another's needs an admin: access.h, MayActOn.
    {"/entrain.v1.SweepService/Stop", Role::kSubmit},
    {"/entrain.v1.SweepService/Pause", Role::kSubmit},
    {"/entrain.v1.SweepService/Resume", Role::kSubmit},
    {"/entrain.v1.SweepService/Retry", Role::kSubmit},
    {"/entrain.v1.SweepService/Logs", Role::kView},
    {"/entrain.v1.SweepService/FetchSamples", Role::kView},
    {"/entrain.v1.SweepService/FetchCheckpoint", Role::kView},
    {"/entrain.v1.SweepService/ListWorkers", Role::kView},
    {"/entrain.v1.SweepService/ActOnWorker", Role::kAdmin},
    {"/entrain.v1.SweepService/Release", Role::kSubmit},
    {"/entrain.v1.SweepService/CollectGarbage", Role::kAdmin},
    {"/entrain.v1.FleetService/Control", std::nullopt, true},
    {"/entrain.v1.FleetService/Samples", std::nullopt, true},
    {"/entrain.v1.FleetService/Logs", std::nullopt, true},
    // People push datasets, workers checkpoints.
    {"/entrain.v1.ArtifactService/FindFolder", Role::kSubmit, true},
    {"/entrain.v1.ArtifactService/PushFolder", Role::kSubmit, true},
    {"/entrain.v1.ArtifactService/ListFiles", Role::kView, true},
    {"/entrain.v1.ArtifactService/ReadFile", Role::kView, true},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Role::kView},
    {"/grpc.health.v1.Health/Check", std::nullopt, true, true},
    {"/grpc.health.v1.Health/Watch", std::nullopt, true, true},
};

}  // namespace

std::span<const MethodRule> MethodRules() { return kRules; }

const MethodRule* FindMethodRule(std::string_view method) {
  const auto found = std::find_if(std::begin(kRules), std::end(kRules), [&](const MethodRule& rule) { return rule.method == method; });
  return found == std::end(kRules) ? nullptr : found;
}

}  // namespace entrain::rpc
