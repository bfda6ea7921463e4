#include "worker/agent/peer_grant.h"

#include <algorithm>

#include "base/strings.h"
#include "transport/signature.h"
#include "worker/agent/launch_plan.h"

namespace entrain::agent {
namespace {

constexpr std::size_t kKeysKept = 2;

std::string KeyText(const v1::AttemptKey& key) { return StrCat(key.run_id(), ".", key.attempt()); }

}  // namespace

void PeerKeys::Add(const std::string& key) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (key.empty() || std::find(keys_.begin(), keys_.end(), key) != keys_.end()) return;
  keys_.push_back(key);
  if (keys_.size() > kKeysKept) keys_.pop_front();
}

bool PeerKeys::Signed(const v1::PeerGrant& grant) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(keys_.begin(), keys_.end(), [&](const std::string& key) { return transport::IsSignedBy(key, grant.launch(), grant.token()); });
}

int PlaceInGang(const v1::Launch& launch, const WorkerId& worker) {
  for (int i = 0; i < launch.gang_size(); ++i) {
    if (launch.gang(i).worker_id() == worker.value()) return i;
  }
  return -1;
}

absl::StatusOr<v1::Launch> CheckGrant(const v1::PeerGrant& grant, const v1::AttemptKey& key, const WorkerId& self, const PeerKeys& keys) {
  if (grant.token().empty()) return absl::UnauthenticatedError("the call carries no token");
  if (!keys.Signed(grant)) return absl::UnauthenticatedError("the token is not of a coordinator of this worker");
  v1::Launch launch;
  if (!launch.ParseFromString(grant.launch())) return absl::InvalidArgumentError("the token's launch is damaged");
  if (launch.key().run_id() != key.run_id() || launch.key().attempt() != key.attempt()) {
    return absl::PermissionDeniedError(StrCat("the token is for attempt ", KeyText(launch.key()), ", not for ", KeyText(key)));
  }
  if (const absl::Status valid = LaunchFromWire(launch, self).status(); !valid.ok()) return valid;
  if (PlaceInGang(launch, self) < 1) return absl::PermissionDeniedError(StrCat("attempt ", KeyText(key), " has no part that this worker is asked for"));
  return launch;
}

}  // namespace entrain::agent
