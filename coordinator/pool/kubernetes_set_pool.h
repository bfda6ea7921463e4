// A pool that is a StatefulSet of workers: its `scale` subresource is the number of machines. A StatefulSet grows at its highest ordinal and
// shrinks from there, so the last machines of List are the first to go.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "coordinator/pool/kubernetes_api.h"
#include "coordinator/pool/provider.h"

namespace entrain::pool {

class KubernetesSetPool : public PoolProvider {
 public:
  // Pods of the StatefulSet `set` register with their own names.
  KubernetesSetPool(PoolLimits limits, std::string set, KubernetesApi* api);

  const PoolLimits& limits() const override { return limits_; }
  std::string engine() const override { return "kubernetes"; }
  absl::StatusOr<std::vector<PoolMachine>> List() override;
  absl::Status Grow(std::int64_t machines, const GangRequest* gang) override;
  absl::Status Release(const std::vector<PoolMachine>& machines) override;
  bool CanReleaseAny() const override { return false; }
  bool Owns(const std::string& worker_name) const override;

 private:
  struct Scale {
    nlohmann::json object;  // as read: what is written goes against its resourceVersion
    std::int64_t replicas = 0;
  };
  std::string ScalePath() const;
  absl::StatusOr<Scale> ReadScale();
  // Writes `replicas` over what was read. False when the set has changed since.
  absl::StatusOr<bool> WriteScale(const Scale& read, std::int64_t replicas);

  const PoolLimits limits_;
  const std::string set_;
  KubernetesApi* const api_;
};

}  // namespace entrain::pool
