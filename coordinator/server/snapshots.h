// When and how the journal gets a snapshot: compaction runs on a thread of its own, the core's thread only hands facts over and writes.
#pragma once

#include <cstdint>
#include <future>
#include <vector>

#include "coordinator/core/state.h"
#include "coordinator/store/store.h"
#include "domain/fact.h"

namespace entrain::server {

inline constexpr std::int64_t kSnapshotEveryFacts = 20'000;

// One thread. A snapshot that cannot be written is logged and tried again later: the journal holds everything without it.
class Snapshots {
 public:
  Snapshots(store::Journal* journal, const core::CoreConfig& config, std::int64_t every_facts)
      : journal_(journal), config_(config), every_facts_(every_facts), due_at_(every_facts) {}

  // Every fact that the journal replayed or committed, in order.
  void Add(domain::Fact fact);
  // Between two batches: writes a snapshot that is ready or begins one that is due. Does not wait for compaction.
  void Advance();
  // At a clean end: a snapshot of whatever is new.
  void Finish();

 private:
  void Begin();
  void Write(std::vector<domain::Fact> compacted);

  store::Journal* const journal_;
  const core::CoreConfig config_;
  const std::int64_t every_facts_;
  // Since the beginning, compacted as far as the last snapshot; those since `compacting_` began while it runs.
  std::vector<domain::Fact> facts_;
  std::future<std::vector<domain::Fact>> compacting_;
  std::int64_t due_at_;  // facts since the newest snapshot
};

}  // namespace entrain::server
