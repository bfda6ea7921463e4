#include "coordinator/pool/kubernetes_pool.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/kubernetes_gang_pool.h"
#include "coordinator/pool/kubernetes_set_pool.h"

namespace entrain::pool {
namespace {

using sweep::Field;

// A pod's name with its index behind it is a host's name, of at most 63 characters.
constexpr std::size_t kMaxGangPoolName = 24;

struct Section {
  std::string workers;
  std::string jobset;
  std::string server;
  std::string account;
  std::string name_space;
};

const std::vector<Field<Section>>& Fields() {
  static const std::vector<Field<Section>> fields = {
      sweep::Text("workers", &Section::workers, "the StatefulSet of workers that is scaled"),
      sweep::Text("jobset", &Section::jobset, "file with the JobSet, as JSON, that is made for a gang"),
      sweep::Text("server", &Section::server, "https://HOST:PORT of the API server; default: what the pod's environment says"),
      sweep::Text("account", &Section::account, "folder with token, ca.crt and namespace; default: where a pod has them"),
      sweep::Text("namespace", &Section::name_space, "of the workers; default: the coordinator's own"),
  };
  return fields;
}

// A DNS label, as names of sets and namespaces are; it becomes part of a path.
bool IsLabel(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 63 && letter(text.front()) && letter(text.back()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || c == '-'; });
}

absl::StatusOr<Section> ReadSection(const PoolFile& file) {
  sweep::ProblemList problems;
  Section section;
  ReadFields(*file.section, Fields(), "kubernetes.", {}, &section, &problems);
  const sweep::Place place = file.section->place;
  const bool gang = file.limits.gang_shaped;
  if (gang && section.jobset.empty()) problems.Add(place, "kubernetes.jobset", "must be given with gang");
  if (gang && !section.workers.empty()) problems.Add(place, "kubernetes.workers", "is not for a pool with gang");
  if (gang && file.limits.name.size() > kMaxGangPoolName) problems.Add(place, "pool", StrCat("must be at most ", kMaxGangPoolName, " characters with gang"));
  if (!gang && !section.jobset.empty()) problems.Add(place, "kubernetes.jobset", "is only for a pool with gang");
  if (!gang && !IsLabel(section.workers)) problems.Add(place, "kubernetes.workers", "must be given: the name of a StatefulSet");
  if (!section.name_space.empty() && !IsLabel(section.name_space)) problems.Add(place, "kubernetes.namespace", "is no name of a namespace");
  ENTRAIN_RETURN_IF_ERROR(StatusOfProblems(file.path, &problems));
  return section;
}

// The provider with what it speaks through.
template <typename Pool>
class Owning : public Pool {
 public:
  template <typename... Arguments>
  Owning(std::unique_ptr<KubernetesApi> api, Arguments... arguments) : Pool(std::move(arguments)..., api.get()), api_(std::move(api)) {}

 private:
  const std::unique_ptr<KubernetesApi> api_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<PoolProvider>> MakeKubernetesPool(const PoolFile& file, const Clock* clock, Pause pause,
                                                                 std::int64_t call_limit_ms) {
  ENTRAIN_ASSIGN_OR_RETURN(const Section section, ReadSection(file));
  nlohmann::json jobset;
  if (file.limits.gang_shaped) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(section.jobset));
    ENTRAIN_ASSIGN_OR_RETURN(jobset, ParseJobSetTemplate(text, section.jobset));
  }
  ENTRAIN_ASSIGN_OR_RETURN(KubernetesAccess access, FindKubernetes(section.server, section.account, section.name_space));
  if (!IsLabel(access.name_space)) return absl::FailedPreconditionError(StrCat("the pod's namespace \"", OneLine(access.name_space), "\" is no name of one"));
  auto api = std::make_unique<KubernetesApi>(std::move(access), clock, std::move(pause), call_limit_ms);
  if (file.limits.gang_shaped) {
    return std::make_unique<Owning<KubernetesGangPool>>(std::move(api), file.limits, file.cluster, std::move(jobset));
  }
  return std::make_unique<Owning<KubernetesSetPool>>(std::move(api), file.limits, section.workers);
}

}  // namespace entrain::pool
