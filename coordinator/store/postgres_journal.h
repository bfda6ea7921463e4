// Facts and events in PostgreSQL. One thread. A batch is one statement, and so one transaction and one round trip; a lost connection on
// the way is settled by reading what is there.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/store/postgres_lane.h"
#include "coordinator/store/store.h"

namespace entrain::store {

class PostgresJournal : public Journal {
 public:
  static absl::StatusOr<std::unique_ptr<PostgresJournal>> Open(PostgresLease* lease);

  absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) override;
  absl::Status Replay(const std::function<void(domain::Fact)>& apply) override;
  absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) override;
  absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) override;
  std::int64_t FactsSinceSnapshot() override { return at_.fact - through_seq_; }
  absl::StatusOr<std::int64_t> LastEventMs() override { return last_event_ms_; }

 private:
  // The last row of each table.
  struct Position {
    std::int64_t fact = 0;
    std::int64_t event = 0;
    std::int64_t snapshot = 0;
    bool operator==(const Position&) const = default;
  };
  explicit PostgresJournal(PostgresLease* lease) : lane_(lease, "journal"), reader_(lease) {}
  absl::Status LoadCounters();
  absl::StatusOr<Position> ReadPosition();
  // True when the tables are at `after`, false when still at at_.
  absl::StatusOr<bool> Landed(const Position& after);
  std::function<absl::StatusOr<PostgresRows>(const std::string&, const PostgresValues&)> Ask();

  PostgresLane lane_;
  PostgresReader reader_;
  Position at_;
  std::int64_t through_seq_ = 0;  // the fact that the newest snapshot stands through; 0: no snapshot
  std::int64_t term_ = 0;         // as in SQLite's journal
  std::int64_t last_event_ms_ = 0;
};

}  // namespace entrain::store
