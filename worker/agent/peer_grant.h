// The token by which the head of a gang asks this machine for its part: what the coordinator signed, checked without the coordinator.
#pragma once

#include <deque>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "domain/fleet.h"
#include "entrain/v1/peer_service.pb.h"

namespace entrain::agent {

// Keys of the coordinators that this daemon is or was connected to: the newest two, so that a change of coordinator fails no launch that
// is under way. Thread-safe.
class PeerKeys {
 public:
  void Add(const std::string& key);
  bool Signed(const v1::PeerGrant& grant) const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> keys_;
};

// The launch that the grant stands for. UNAUTHENTICATED without a token or with one that no key of ours made; PERMISSION_DENIED for
// another attempt than `key` or for a gang in which this worker has no part, or is the head.
absl::StatusOr<v1::Launch> CheckGrant(const v1::PeerGrant& grant, const v1::AttemptKey& key, const WorkerId& self, const PeerKeys& keys);

// Where the worker stands in the gang; -1: nowhere.
int PlaceInGang(const v1::Launch& launch, const WorkerId& worker);

// Whether the launch is of a gang over several machines.
inline bool SpansMachines(const v1::Launch& launch) { return launch.gang_size() > 1; }

}  // namespace entrain::agent
