#include "coordinator/pool/kubernetes_pods.h"

#include <algorithm>
#include <charconv>

#include "base/strings.h"
#include "coordinator/pool/kubernetes_api.h"

namespace entrain::pool {
namespace {

std::string ReasonWith(const std::string& reason, const std::string& message) {
  return OneLine(reason.empty() || message.empty() ? reason + message : StrCat(reason, ": ", message));
}

// Of the object's status.conditions.
const nlohmann::json& Condition(const nlohmann::json& object, const char* type) {
  static const nlohmann::json kNull;
  for (const nlohmann::json& condition : At(object, {"status", "conditions"})) {
    if (TextAt(condition, {"type"}) == type) return condition;
  }
  return kNull;
}

bool Holds(const nlohmann::json& object, const char* type) { return TextAt(Condition(object, type), {"status"}) == "True"; }

// What a container waits for, other than the kubelet's ordinary work.
std::string WhyContainerWaits(const nlohmann::json& container) {
  const std::string reason = TextAt(container, {"state", "waiting", "reason"});
  if (reason.empty() || reason == "ContainerCreating" || reason == "PodInitializing") return "";
  return ReasonWith(reason, TextAt(container, {"state", "waiting", "message"}));
}

}  // namespace

std::string WhyNotUp(const nlohmann::json& pod) {
  const std::string phase = TextAt(pod, {"status", "phase"});
  if (phase == "Failed" || phase == "Succeeded") {
    const std::string why = ReasonWith(TextAt(pod, {"status", "reason"}), TextAt(pod, {"status", "message"}));
    return why.empty() ? (phase == "Failed" ? "failed" : "ended") : why;
  }
  if (!At(pod, {"metadata", "deletionTimestamp"}).is_null()) return "terminating";
  if (const nlohmann::json& scheduled = Condition(pod, "PodScheduled"); TextAt(scheduled, {"status"}) == "False") {
    return ReasonWith(TextAt(scheduled, {"reason"}), TextAt(scheduled, {"message"}));
  }
  for (const char* list : {"initContainerStatuses", "containerStatuses"}) {
    for (const nlohmann::json& container : At(pod, {"status", list})) {
      if (const std::string why = WhyContainerWaits(container); !why.empty()) return why;
    }
  }
  if (phase == "Running") return Holds(pod, "Ready") ? "" : "running, not ready yet";
  return "starting";
}

PoolMachine MachineOfPod(const nlohmann::json& pod) {
  PoolMachine machine;
  machine.worker_name = TextAt(pod, {"metadata", "name"});
  machine.detail = WhyNotUp(pod);
  const std::string phase = TextAt(pod, {"status", "phase"});
  const bool deleted = !At(pod, {"metadata", "deletionTimestamp"}).is_null();
  if (deleted || phase == "Failed" || phase == "Succeeded") {
    machine.state = PoolMachine::State::kLeaving;
  } else if (machine.detail.empty()) {
    machine.state = PoolMachine::State::kUp;
  }
  return machine;
}

std::optional<std::int64_t> OrdinalIn(std::string_view set, std::string_view pod) {
  if (!pod.starts_with(set) || pod.size() < set.size() + 2 || pod[set.size()] != '-') return std::nullopt;
  pod.remove_prefix(set.size() + 1);
  std::int64_t ordinal = 0;
  const auto read = std::from_chars(pod.data(), pod.data() + pod.size(), ordinal);
  if (read.ec != std::errc() || read.ptr != pod.data() + pod.size() || ordinal < 0 || (pod.size() > 1 && pod.front() == '0')) return std::nullopt;
  return ordinal;
}

bool IsControlledBy(const nlohmann::json& pod, std::string_view kind, std::string_view name) {
  const nlohmann::json& owners = At(pod, {"metadata", "ownerReferences"});
  return std::any_of(owners.begin(), owners.end(), [&](const nlohmann::json& owner) {
    return At(owner, {"controller"}) == true && TextAt(owner, {"kind"}) == kind && TextAt(owner, {"name"}) == name;
  });
}

std::string HowItEnded(const nlohmann::json& jobset) {
  for (const char* end : {"Completed", "Failed"}) {
    if (Holds(jobset, end)) return ReasonWith(end, TextAt(Condition(jobset, end), {"message"}));
  }
  return "";
}

std::string WhyNotAdmitted(const nlohmann::json& workload) {
  if (Holds(workload, "Admitted")) return "";
  const nlohmann::json& reserved = Condition(workload, "QuotaReserved");
  return TextAt(reserved, {"status"}) == "False" ? ReasonWith(TextAt(reserved, {"reason"}), TextAt(reserved, {"message"})) : "";
}

}  // namespace entrain::pool
