#include "sim/disk.h"

#include <algorithm>

namespace entrain::sim {

void Disk::Keep(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) {
  for (const domain::Event& event : events) last_event_ms_ = std::max(last_event_ms_, event.at_ms);
  for (const domain::Fact& fact : facts) {
    if (!domain::IsTransient(fact)) facts_.push_back(fact);
  }
  committed_(events, facts);
}

absl::Status Disk::Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) {
  if (!stage_->Chance(stage_->weather().fail_commit_per_mille)) {
    Keep(events, facts);
    return absl::OkStatus();
  }
  ++failed_writes_;
  switch (stage_->rng().Below(3)) {
    case 0: stage_->Note("disk: write refused"); break;
    case 1:
      stage_->Note("disk: written, and yet the sync failed");
      Keep(events, facts);
      break;
    default:
      stage_->Note("disk: torn write");
      ++torn_writes_;
      torn_.assign(facts.begin(), facts.begin() + static_cast<std::ptrdiff_t>(facts.size() / 2));
      break;
  }
  return absl::ResourceExhaustedError("simulated disk fault");
}

absl::Status Disk::Replay(const std::function<void(domain::Fact)>& apply) {
  torn_.clear();
  for (const domain::Fact& fact : snapshot_) apply(fact);
  for (std::size_t i = static_cast<std::size_t>(snapshot_through_); i < facts_.size(); ++i) apply(facts_[i]);
  return absl::OkStatus();
}

std::vector<domain::Fact> Disk::FactsToCompact() const {
  std::vector<domain::Fact> facts = snapshot_;
  facts.insert(facts.end(), facts_.begin() + static_cast<std::ptrdiff_t>(snapshot_through_), facts_.end());
  return facts;
}

absl::Status Disk::WriteSnapshot(const std::vector<domain::Fact>& facts) {
  snapshot_.clear();
  std::copy_if(facts.begin(), facts.end(), std::back_inserter(snapshot_), [](const auto& fact) { return !IsTransient(fact); });
  snapshot_through_ = static_cast<std::int64_t>(facts_.size());
  return absl::OkStatus();
}

absl::Status Disk::ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>&) { return absl::OkStatus(); }

}  // namespace entrain::sim
