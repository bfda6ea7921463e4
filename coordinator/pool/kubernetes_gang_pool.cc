#include "coordinator/pool/kubernetes_gang_pool.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/kubernetes_pods.h"

namespace entrain::pool {
namespace {

using nlohmann::json;

constexpr char kQueueLabel[] = "kueue.x-k8s.io/queue-name";
constexpr char kJobSetLabel[] = "jobset.sigs.k8s.io/jobset-name";
constexpr char kIndexAnnotation[] = "batch.kubernetes.io/job-completion-index";
constexpr char kManagedBy[] = "entrain-coordinator";
// Of one JobSet that are shown; none of ours has more.
constexpr std::int64_t kMaxMachines = 10'000;

// Of the one replicated job.
const json& JobOf(const json& jobset) {
  static const json kNull;
  const json& jobs = At(jobset, {"spec", "replicatedJobs"});
  return jobs.is_array() && !jobs.empty() ? jobs.front() : kNull;
}

// Everything that this coordinator makes for a pool can be found by these.
json LabelsOf(const std::string& cluster, const std::string& pool) {
  return {{"app.kubernetes.io/managed-by", kManagedBy}, {"entrain/cluster", cluster}, {"entrain/pool", pool}};
}

std::string NameOf(const json& object) { return TextAt(object, {"metadata", "name"}); }

// What a pod of the JobSet begins with; the index follows.
std::string PodPrefix(const std::string& jobset, const json& job) { return StrCat(jobset, "-", TextAt(job, {"name"}), "-0-"); }

// The newest word on the machine with this index: a pod that lives rather than one that ended. Null: none.
const json* PodOf(const json& pods, const std::string& jobset, std::int64_t index) {
  const json* found = nullptr;
  for (const json& pod : pods) {
    if (TextAt(pod, {"metadata", "labels", kJobSetLabel}) != jobset) continue;
    if (TextAt(pod, {"metadata", "annotations", kIndexAnnotation}) != StrCat(index)) continue;
    if (found == nullptr || MachineOfPod(pod).state != PoolMachine::State::kLeaving) found = &pod;
  }
  return found;
}

std::string WhySuspended(const json& jobset, const json& workloads) {
  const std::string queue = TextAt(jobset, {"metadata", "labels", kQueueLabel});
  for (const json& workload : workloads) {
    if (!IsControlledBy(workload, "JobSet", NameOf(jobset))) continue;
    if (const std::string why = WhyNotAdmitted(workload); !why.empty()) return StrCat("Kueue: ", why);
  }
  return queue.empty() ? "suspended" : StrCat("waits in Kueue's queue ", queue);
}

bool IsSuspended(const json& jobset) { return At(jobset, {"spec", "suspend"}) == true; }

// Why none of the JobSet's machines will be of use any more; empty while they may.
std::string WhyOver(const json& jobset) {
  if (!At(jobset, {"metadata", "deletionTimestamp"}).is_null()) return "its JobSet is being deleted";
  return HowItEnded(jobset);
}

std::vector<PoolMachine> MachinesOf(const json& jobset, const json& pods, const json& workloads) {
  const std::string name = NameOf(jobset);
  const json& job = JobOf(jobset);
  const json& count = At(job, {"template", "spec", "parallelism"});
  const std::string over = WhyOver(jobset);
  std::vector<PoolMachine> machines;
  const std::int64_t wanted = count.is_number_integer() ? std::min(count.get<std::int64_t>(), kMaxMachines) : 1;
  for (std::int64_t index = 0; index < wanted; ++index) {
    const json* pod = PodOf(pods, name, index);
    PoolMachine machine;
    if (pod != nullptr) machine = MachineOfPod(*pod);
    if (pod == nullptr) machine.detail = IsSuspended(jobset) ? WhySuspended(jobset, workloads) : "no pod yet";
    if (!over.empty()) {
      machine.state = PoolMachine::State::kLeaving;
      machine.detail = over;
    }
    machine.id = StrCat(PodPrefix(name, job), index);
    machine.unit = name;
    machines.push_back(std::move(machine));
  }
  return machines;
}

// Whether names and labels can be added to the object.
bool TakesLabels(const json& object) {
  const auto map = [](const json& value) { return value.is_null() || value.is_object(); };
  return map(At(object, {"metadata"})) && map(At(object, {"metadata", "labels"})) && map(At(object, {"metadata", "annotations"}));
}

}  // namespace

absl::StatusOr<json> ParseJobSetTemplate(std::string_view text, const std::string& path) {
  const auto bad = [&](std::string_view why) { return absl::InvalidArgumentError(StrCat(path, ": ", why)); };
  json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return bad("is no JSON object");
  if (TextAt(parsed, {"apiVersion"}) != "jobset.x-k8s.io/v1alpha2" || TextAt(parsed, {"kind"}) != "JobSet") {
    return bad("is no JobSet of jobset.x-k8s.io/v1alpha2");
  }
  const json& job = JobOf(parsed);
  if (At(parsed, {"spec", "replicatedJobs"}).size() != 1 || TextAt(job, {"name"}).empty()) return bad("spec.replicatedJobs must be one job with a name");
  if (TextAt(job, {"name"}).size() > 12) return bad("spec.replicatedJobs[0].name must be at most 12 characters: the names of pods begin with it");
  if (!At(job, {"replicas"}).is_null() && At(job, {"replicas"}) != 1) return bad("spec.replicatedJobs[0].replicas must be 1");
  if (TextAt(job, {"template", "spec", "completionMode"}) != "Indexed") return bad("spec.replicatedJobs[0].template.spec.completionMode must be Indexed");
  if (!At(job, {"template", "spec", "template", "spec"}).is_object()) return bad("spec.replicatedJobs[0].template.spec.template.spec is missing");
  if (!TakesLabels(parsed) || !TakesLabels(At(job, {"template", "spec", "template"}))) return bad("metadata, labels and annotations must be maps");
  return parsed;
}

std::string JobSetName(const JobSetOrder& order) {
  // Run ids are of letters and digits; whatever else comes is told by its hash.
  const std::string& run = order.run.value();
  const bool plain = !run.empty() && run.size() <= 12 && std::all_of(run.begin(), run.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
  return StrCat(order.pool, "-", plain ? run : "h" + HashHex(run).substr(0, 11));
}

json JobSetOf(json jobset_template, const JobSetOrder& order) {
  json& metadata = jobset_template["metadata"];
  metadata["name"] = JobSetName(order);
  metadata["namespace"] = order.name_space;
  metadata["annotations"]["entrain/run"] = order.run.value();
  const json labels = LabelsOf(order.cluster, order.pool);
  metadata["labels"].update(labels);
  json& job = jobset_template["spec"]["replicatedJobs"][0]["template"]["spec"];
  job["parallelism"] = job["completions"] = order.machines;
  job["template"]["metadata"]["labels"].update(labels);
  // Kueue ends the suspension; without it nobody would.
  jobset_template["spec"]["suspend"] = !TextAt(jobset_template, {"metadata", "labels", kQueueLabel}).empty();
  return jobset_template;
}

KubernetesGangPool::KubernetesGangPool(PoolLimits limits, std::string cluster, json jobset_template, KubernetesApi* api)
    : limits_(std::move(limits)), cluster_(std::move(cluster)), template_(std::move(jobset_template)), api_(api) {}

std::string KubernetesGangPool::Path(const std::string& jobset) const {
  return StrCat("/apis/jobset.x-k8s.io/v1alpha2/namespaces/", api_->access().name_space, "/jobsets", jobset.empty() ? "" : "/", jobset);
}

std::string KubernetesGangPool::Selector() const {
  std::string selector;
  const json labels = LabelsOf(cluster_, limits_.name);
  for (const auto& [key, value] : labels.items()) StrAppend(&selector, selector.empty() ? "" : ",", key, "=", value.get<std::string>());
  return selector;
}

absl::StatusOr<json> KubernetesGangPool::JobSets() {
  ENTRAIN_ASSIGN_OR_RETURN(json jobsets, api_->List(Path(""), Selector()));
  std::sort(jobsets.begin(), jobsets.end(), [](const json& a, const json& b) { return NameOf(a) < NameOf(b); });
  return jobsets;
}

json KubernetesGangPool::Workloads(const json& jobsets) {
  const bool asked = std::any_of(jobsets.begin(), jobsets.end(), [](const json& jobset) {
    return IsSuspended(jobset) && !TextAt(jobset, {"metadata", "labels", kQueueLabel}).empty();
  });
  if (!asked) return json::array();
  const absl::StatusOr<json> workloads =
      api_->List(StrCat("/apis/kueue.x-k8s.io/v1beta1/namespaces/", api_->access().name_space, "/workloads"), "kueue.x-k8s.io/job-uid");
  // Only for people: the machines are pending all the same.
  return workloads.ok() ? *workloads : json::array();
}

absl::StatusOr<std::vector<PoolMachine>> KubernetesGangPool::List() {
  ENTRAIN_ASSIGN_OR_RETURN(const json jobsets, JobSets());
  std::vector<PoolMachine> machines;
  if (jobsets.empty()) return machines;
  ENTRAIN_ASSIGN_OR_RETURN(const json pods, api_->List(StrCat("/api/v1/namespaces/", api_->access().name_space, "/pods"), Selector()));
  const json workloads = Workloads(jobsets);
  for (const json& jobset : jobsets) {
    for (PoolMachine& machine : MachinesOf(jobset, pods, workloads)) machines.push_back(std::move(machine));
  }
  return machines;
}

absl::Status KubernetesGangPool::Grow(std::int64_t machines, const GangRequest* gang) {
  if (gang == nullptr) return absl::FailedPreconditionError(StrCat("the pool ", limits_.name, " gives machines for a gang alone"));
  const JobSetOrder order{api_->access().name_space, cluster_, limits_.name, gang->run, machines};
  ApiRequest request{.method = "POST", .path = Path(""), .query = "fieldManager=entrain-coordinator&fieldValidation=Strict", .body = JobSetOf(template_, order)};
  ENTRAIN_ASSIGN_OR_RETURN(const ApiAnswer answer, api_->Call(request));
  if (answer.ok()) return absl::OkStatus();
  if (answer.code == 409 && ReasonOf(answer) == "AlreadyExists") return MakeRoomFor(JobSetName(order));
  return Refusal(request, answer);
}

absl::Status KubernetesGangPool::MakeRoomFor(const std::string& name) {
  ENTRAIN_ASSIGN_OR_RETURN(const json jobsets, JobSets());
  const auto found = std::find_if(jobsets.begin(), jobsets.end(), [&](const json& jobset) { return NameOf(jobset) == name; });
  if (found == jobsets.end()) {
    return absl::FailedPreconditionError(StrCat("a JobSet ", name, " exists that is not of the cluster ", cluster_, "'s pool ", limits_.name));
  }
  const std::string over = WhyOver(*found);
  if (over.empty()) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(Delete(*found));
  return absl::UnavailableError(StrCat("the JobSet ", name, " of the gang's last attempt is not gone yet: ", over));
}

absl::Status KubernetesGangPool::Delete(const json& jobset) {
  if (!At(jobset, {"metadata", "deletionTimestamp"}).is_null()) return absl::OkStatus();
  ApiRequest request{.method = "DELETE", .path = Path(NameOf(jobset)), .query = "", .body = nullptr};
  // This one and no later one of the same name; gone only when its pods are.
  request.body = {{"apiVersion", "v1"},
                  {"kind", "DeleteOptions"},
                  {"propagationPolicy", "Foreground"},
                  {"preconditions", {{"uid", TextAt(jobset, {"metadata", "uid"})}}}};
  ENTRAIN_ASSIGN_OR_RETURN(const ApiAnswer answer, api_->Call(request));
  return answer.ok() || answer.code == 404 || answer.code == 409 ? absl::OkStatus() : Refusal(request, answer);
}

absl::Status KubernetesGangPool::Release(const std::vector<PoolMachine>& machines) {
  std::set<std::string> ids;
  std::set<std::string> units;
  for (const PoolMachine& machine : machines) {
    ids.insert(machine.id);
    units.insert(machine.unit);
  }
  ENTRAIN_ASSIGN_OR_RETURN(const json jobsets, JobSets());
  for (const json& jobset : jobsets) {
    if (!units.contains(NameOf(jobset))) continue;
    for (const PoolMachine& machine : MachinesOf(jobset, json::array(), json::array())) {
      if (!ids.contains(machine.id)) {
        return absl::FailedPreconditionError(StrCat("the JobSet ", machine.unit, " goes whole or not at all, and ", machine.id, " is not to go"));
      }
    }
    ENTRAIN_RETURN_IF_ERROR(Delete(jobset));
  }
  return absl::OkStatus();
}

bool KubernetesGangPool::Owns(const std::string& worker_name) const {
  const std::string job = StrCat("-", TextAt(JobOf(template_), {"name"}), "-0-");
  if (!worker_name.starts_with(limits_.name + "-")) return false;
  const std::size_t at = worker_name.rfind(job);
  return at != std::string::npos && at > limits_.name.size() + 1 && worker_name.find('-', limits_.name.size() + 1) == at;
}

}  // namespace entrain::pool
