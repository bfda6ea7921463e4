#include "coordinator/server/snapshots.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <string>
#include <utility>

#include "base/log.h"
#include "base/strings.h"
#include "coordinator/core/compact.h"

namespace entrain::server {

void Snapshots::Add(domain::Fact fact) {
  if (!domain::IsTransient(fact)) facts_.push_back(std::move(fact));
}

void Snapshots::Begin() {
  compacting_ = std::async(std::launch::async, core::CompactFacts, std::exchange(facts_, {}), config_);
}

void Snapshots::Advance() {
  if (!compacting_.valid()) {
    if (journal_->FactsSinceSnapshot() >= due_at_) Begin();
    return;
  }
  if (compacting_.wait_for(std::chrono::seconds(0)) == std::future_status::ready) Write(compacting_.get());
}

void Snapshots::Finish() {
  // Its facts are needed either way; it may be older than the newest.
  if (compacting_.valid()) Write(compacting_.get());
  if (journal_->FactsSinceSnapshot() > 0) Write(core::CompactFacts(std::exchange(facts_, {}), config_));
}

void Snapshots::Write(std::vector<domain::Fact> compacted) {
  // What was committed while it was made.
  std::move(facts_.begin(), facts_.end(), std::back_inserter(compacted));
  facts_ = std::move(compacted);
  const std::int64_t stands_for = journal_->FactsSinceSnapshot();
  if (const absl::Status status = journal_->WriteSnapshot(facts_); !status.ok()) {
    Log(LogLevel::kWarning, "snapshot not written", {{"why", std::string(status.message())}});
    due_at_ = stands_for + every_facts_;
    return;
  }
  // As many new facts as this one holds: all snapshots together write no more than about twice what the journal does.
  due_at_ = std::max(every_facts_, static_cast<std::int64_t>(facts_.size()));
  Log(LogLevel::kInfo, "snapshot written", {{"facts", StrCat(facts_.size())}, {"new_facts", StrCat(stands_for)}});
}

}  // namespace entrain::server
