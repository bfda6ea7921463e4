// A pool that makes a JobSet for each waiting gang from a template of the operator's: its workers register like any others, run the gang, and
// the JobSet is deleted when they are idle. Where the template names a Kueue queue, Kueue admits all of a gang's machines or none.
#pragma once

#include <string>
#include <vector>

#include "coordinator/pool/kubernetes_api.h"
#include "coordinator/pool/provider.h"

namespace entrain::pool {

// A JobSet of exactly one replicated job, of one indexed Job; what else is in it is the operator's. INVALID_ARGUMENT says what is not so.
absl::StatusOr<nlohmann::json> ParseJobSetTemplate(std::string_view text, const std::string& path);

// Who a JobSet is made for, and of what.
struct JobSetOrder {
  std::string name_space;
  std::string cluster;
  std::string pool;
  RunId run;
  std::int64_t machines = 1;
};
// The same for the same run, so that a gang never gets two.
std::string JobSetName(const JobSetOrder& order);
nlohmann::json JobSetOf(nlohmann::json jobset_template, const JobSetOrder& order);

class KubernetesGangPool : public PoolProvider {
 public:
  KubernetesGangPool(PoolLimits limits, std::string cluster, nlohmann::json jobset_template, KubernetesApi* api);

  const PoolLimits& limits() const override { return limits_; }
  std::string engine() const override { return "kubernetes"; }
  absl::StatusOr<std::vector<PoolMachine>> List() override;
  // A gang whose JobSet exists has been asked for already. One that ended is deleted first; while it lingers, UNAVAILABLE.
  absl::Status Grow(std::int64_t machines, const GangRequest* gang) override;
  absl::Status Release(const std::vector<PoolMachine>& machines) override;
  bool CanReleaseAny() const override { return true; }
  bool Owns(const std::string& worker_name) const override;

 private:
  std::string Path(const std::string& jobset) const;
  std::string Selector() const;
  absl::StatusOr<nlohmann::json> JobSets();
  // What Kueue says of the JobSets that it holds back; empty where it is not used or cannot be asked.
  nlohmann::json Workloads(const nlohmann::json& jobsets);
  absl::Status MakeRoomFor(const std::string& name);
  absl::Status Delete(const nlohmann::json& jobset);

  const PoolLimits limits_;
  const std::string cluster_;
  const nlohmann::json template_;
  KubernetesApi* const api_;
};

}  // namespace entrain::pool
