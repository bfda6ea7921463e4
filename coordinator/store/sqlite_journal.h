// Facts and events in SQLite. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/store/sqlite.h"
#include "coordinator/store/store.h"

namespace entrain::store {

class SqliteJournal : public Journal {
 public:
  static absl::StatusOr<std::unique_ptr<SqliteJournal>> Open(const std::string& path);

  absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) override;
  absl::Status Replay(const std::function<void(domain::Fact)>& apply) override;
  absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) override;
  absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) override;
  std::int64_t FactsSinceSnapshot() override { return last_seq_ - through_seq_; }
  absl::StatusOr<std::unique_ptr<Copy>> BeginCopy(const std::string& path) override;
  absl::StatusOr<std::int64_t> LastEventMs() override { return last_event_ms_; }

 private:
  explicit SqliteJournal(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  absl::Status Prepare();
  absl::Status LoadCounters();
  absl::Status InsertFact(const domain::Fact& fact, std::int64_t seq);
  absl::Status InsertEvent(const domain::Event& event, std::int64_t facts_before);

  std::unique_ptr<Database> database_;
  Statement insert_fact_, insert_event_, insert_part_;
  std::int64_t last_seq_ = 0;     // of facts
  std::int64_t through_seq_ = 0;  // the fact that the newest snapshot stands through; 0: no snapshot
  // Counts the processes that stored events: a restart forgets who was connected, which a re-decision must forget too.
  std::int64_t term_ = 0;
  std::int64_t last_event_ms_ = 0;
};

}  // namespace entrain::store
