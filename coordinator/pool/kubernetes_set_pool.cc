#include "coordinator/pool/kubernetes_set_pool.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/kubernetes_pods.h"

namespace entrain::pool {
namespace {

// The set's controller writes its status at any time; so many writes of ours that came late in a row are no accident.
constexpr int kMaxConflicts = 10;
constexpr std::int64_t kMostReplicas = 100'000;

}  // namespace

KubernetesSetPool::KubernetesSetPool(PoolLimits limits, std::string set, KubernetesApi* api)
    : limits_(std::move(limits)), set_(std::move(set)), api_(api) {}

std::string KubernetesSetPool::ScalePath() const {
  return StrCat("/apis/apps/v1/namespaces/", api_->access().name_space, "/statefulsets/", set_, "/scale");
}

absl::StatusOr<KubernetesSetPool::Scale> KubernetesSetPool::ReadScale() {
  const ApiRequest request{.path = ScalePath(), .body = nullptr};
  ENTRAIN_ASSIGN_OR_RETURN(ApiAnswer answer, api_->Call(request));
  if (!answer.ok()) return Refusal(request, answer);
  Scale scale;
  // Left out where it is 0.
  const nlohmann::json& replicas = At(answer.body, {"spec", "replicas"});
  if (replicas.is_number_integer()) scale.replicas = replicas.get<std::int64_t>();
  if (TextAt(answer.body, {"kind"}) != "Scale" || scale.replicas < 0 || scale.replicas > kMostReplicas || TextAt(answer.body, {"metadata", "resourceVersion"}).empty()) {
    return absl::UnavailableError(StrCat("GET ", request.path, ": the answer is no Scale"));
  }
  scale.object = std::move(answer.body);
  return scale;
}

absl::StatusOr<bool> KubernetesSetPool::WriteScale(const Scale& read, std::int64_t replicas) {
  ApiRequest request{.method = "PUT", .path = ScalePath(), .query = "fieldManager=entrain-coordinator&fieldValidation=Strict", .body = nullptr};
  request.body = {{"apiVersion", "autoscaling/v1"},
                  {"kind", "Scale"},
                  {"metadata",
                   {{"name", set_},
                    {"namespace", api_->access().name_space},
                    {"resourceVersion", TextAt(read.object, {"metadata", "resourceVersion"})}}},
                  {"spec", {{"replicas", replicas}}}};
  ENTRAIN_ASSIGN_OR_RETURN(const ApiAnswer answer, api_->Call(request));
  if (answer.code == 409) return false;
  if (!answer.ok()) return Refusal(request, answer);
  return true;
}

absl::StatusOr<std::vector<PoolMachine>> KubernetesSetPool::List() {
  ENTRAIN_ASSIGN_OR_RETURN(const Scale scale, ReadScale());
  const std::string path = StrCat("/api/v1/namespaces/", api_->access().name_space, "/pods");
  const std::string selector = TextAt(scale.object, {"status", "selector"});
  if (selector.empty()) return absl::UnavailableError(StrCat("GET ", ScalePath(), ": the Scale has no selector"));
  ENTRAIN_ASSIGN_OR_RETURN(const nlohmann::json pods, api_->List(path, selector));
  std::map<std::int64_t, PoolMachine> by_ordinal;
  for (std::int64_t ordinal = 0; ordinal < scale.replicas; ++ordinal) by_ordinal[ordinal].detail = "no pod yet";
  for (const nlohmann::json& pod : pods) {
    const std::optional<std::int64_t> ordinal = OrdinalIn(set_, TextAt(pod, {"metadata", "name"}));
    if (!ordinal || !IsControlledBy(pod, "StatefulSet", set_)) continue;
    PoolMachine machine = MachineOfPod(pod);
    // Wanted, so the set makes it anew once it is gone; above, it goes for good.
    if (*ordinal >= scale.replicas) {
      machine.state = PoolMachine::State::kLeaving;
    } else if (machine.state == PoolMachine::State::kLeaving) {
      machine.state = PoolMachine::State::kPending;
      machine.detail = StrCat("to be made anew: ", machine.detail);
    }
    by_ordinal[*ordinal] = std::move(machine);
  }
  std::vector<PoolMachine> machines;
  for (auto& [ordinal, machine] : by_ordinal) {
    machine.id = machine.unit = machine.worker_name = StrCat(set_, "-", ordinal);
    machines.push_back(std::move(machine));
  }
  return machines;
}

absl::Status KubernetesSetPool::Grow(std::int64_t machines, const GangRequest*) {
  // From the first reading on the target stands: a write whose answer was lost is then found to be done instead of done twice.
  std::optional<std::int64_t> target;
  for (int tries = 0; tries < kMaxConflicts; ++tries) {
    ENTRAIN_ASSIGN_OR_RETURN(const Scale scale, ReadScale());
    if (!target) target = std::min(scale.replicas + machines, limits_.max_machines);
    if (scale.replicas >= *target) return absl::OkStatus();
    ENTRAIN_ASSIGN_OR_RETURN(const bool written, WriteScale(scale, *target));
    if (written) return absl::OkStatus();
  }
  return absl::UnavailableError(StrCat("PUT ", ScalePath(), ": ", kMaxConflicts, " conflicts in a row: who else changes this set?"));
}

absl::Status KubernetesSetPool::Release(const std::vector<PoolMachine>& machines) {
  std::set<std::int64_t> going;
  for (const PoolMachine& machine : machines) {
    const std::optional<std::int64_t> ordinal = OrdinalIn(set_, machine.id);
    if (!ordinal) return absl::FailedPreconditionError(StrCat(machine.id, " is no pod of the StatefulSet ", set_));
    going.insert(*ordinal);
  }
  if (going.empty()) return absl::OkStatus();
  const std::int64_t target = *going.begin();
  for (int tries = 0; tries < kMaxConflicts; ++tries) {
    ENTRAIN_ASSIGN_OR_RETURN(const Scale scale, ReadScale());
    if (scale.replicas <= target) return absl::OkStatus();
    for (std::int64_t ordinal = target; ordinal < scale.replicas; ++ordinal) {
      if (going.contains(ordinal)) continue;
      return absl::FailedPreconditionError(StrCat("the StatefulSet ", set_, " gives back its last pods first, and ", set_, "-", ordinal,
                                                  " is not to go with ", set_, "-", target));
    }
    ENTRAIN_ASSIGN_OR_RETURN(const bool written, WriteScale(scale, target));
    if (written) return absl::OkStatus();
  }
  return absl::UnavailableError(StrCat("PUT ", ScalePath(), ": ", kMaxConflicts, " conflicts in a row: who else changes this set?"));
}

bool KubernetesSetPool::Owns(const std::string& worker_name) const { return OrdinalIn(set_, worker_name).has_value(); }

}  // namespace entrain::pool
