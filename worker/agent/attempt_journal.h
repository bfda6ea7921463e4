// What the daemon keeps about one attempt in the attempt's folder, so that a restarted one goes on where it was.
//
//   daemon/launch.pb   the coordinator's Launch message, without its token
//   daemon/delivered   Delivery, rewritten after acknowledgements
//   daemon/published   one published checkpoint a line, appended: STEP BYTES HASH PATH
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/sample.h"
#include "entrain/v1/fleet_service.pb.h"

namespace entrain::agent {

// How far the coordinator has the attempt's streams, and what the acknowledged events said.
struct Delivery {
  std::uint64_t event_offset = 0;
  bool ready = false;
  std::int64_t last_step = 0;
  std::uint64_t log_offset = 0;
};

class AttemptJournal {
 public:
  explicit AttemptJournal(std::string attempt_folder) : folder_(std::move(attempt_folder)) {}

  // Durable.
  absl::Status WriteLaunch(const v1::Launch& launch) const;
  absl::StatusOr<v1::Launch> ReadLaunch() const;

  // Not synced: what is lost in a power failure is sent a second time, which the coordinator takes.
  absl::Status WriteDelivery(const Delivery& delivery) const;
  // The beginning, when there is none or it is damaged.
  Delivery ReadDelivery() const;

  // Durable.
  absl::Status AddPublished(const domain::Checkpoint& checkpoint) const;
  std::vector<domain::Checkpoint> ReadPublished(AttemptNumber attempt) const;

 private:
  std::string Path(std::string_view name) const;
  std::string folder_;
};

}  // namespace entrain::agent
