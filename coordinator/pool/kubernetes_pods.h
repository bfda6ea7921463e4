// What pods and JobSets say about machines. Pure; whatever is missing or of another type reads as absent.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "coordinator/pool/provider.h"

namespace entrain::pool {

// Up: it runs and is ready. Pending: with the reason, the scheduler's or the kubelet's. Leaving: deleted, or ended for good. The id and the
// unit are the caller's.
PoolMachine MachineOfPod(const nlohmann::json& pod);

// "Unschedulable: 0/3 nodes are available: ...", "ImagePullBackOff: ...", "starting"; empty when it is up.
std::string WhyNotUp(const nlohmann::json& pod);

// 7 of "entrain-worker-7" in the set "entrain-worker"; nullopt for every other name.
std::optional<std::int64_t> OrdinalIn(std::string_view set, std::string_view pod);

// Whether the pod's controller is this object.
bool IsControlledBy(const nlohmann::json& pod, std::string_view kind, std::string_view name);

// A JobSet's condition that ends it ("Completed", "Failed: ..."); empty while it has none.
std::string HowItEnded(const nlohmann::json& jobset);

// Why a workload of Kueue (an item of its list) has no quota; empty when it has or nobody knows.
std::string WhyNotAdmitted(const nlohmann::json& workload);

}  // namespace entrain::pool
