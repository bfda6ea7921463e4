// The journal's disk: keeps whole transactions over crashes of the process. A write fails before or after it is durable, or is torn: half
// of it lies on the disk without an end mark, and recovery drops it, as SQLite does.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "coordinator/store/store.h"
#include "sim/stage.h"

namespace entrain::sim {

class Disk : public store::Journal {
 public:
  using Committed = std::function<void(const std::vector<domain::Event>&, const std::vector<domain::Fact>&)>;
  // `committed` hears of every transaction that a recovery would find, in order.
  Disk(Stage* stage, Committed committed) : stage_(stage), committed_(std::move(committed)) {}

  absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) override;
  absl::Status Replay(const std::function<void(domain::Fact)>& apply) override;
  absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) override;
  std::int64_t FactsSinceSnapshot() override { return static_cast<std::int64_t>(facts_.size()) - snapshot_through_; }
  absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) override;
  absl::StatusOr<std::int64_t> LastEventMs() override { return last_event_ms_; }

  // Everything, or the last snapshot and what came after it: what the next snapshot is made of.
  std::vector<domain::Fact> FactsToCompact() const;
  std::int64_t failed_writes() const { return failed_writes_; }
  std::int64_t torn_writes() const { return torn_writes_; }

 private:
  void Keep(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts);

  Stage* const stage_;
  Committed committed_;
  std::vector<domain::Fact> facts_;
  std::vector<domain::Fact> torn_;  // behind the last end mark
  std::vector<domain::Fact> snapshot_;
  std::int64_t snapshot_through_ = 0;
  std::int64_t last_event_ms_ = 0;
  std::int64_t failed_writes_ = 0;
  std::int64_t torn_writes_ = 0;
};

}  // namespace entrain::sim
