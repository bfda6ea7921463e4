// The leader's lease, kept alive by a thread. Private to the store.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "coordinator/store/postgres.h"
#include "coordinator/store/postgres_store.h"

namespace entrain::store {

class PostgresLease : public Leadership {
 public:
  static absl::StatusOr<std::unique_ptr<PostgresLease>> Open(const PostgresOptions& options, const Clock* clock);
  ~PostgresLease() override;

  absl::StatusOr<bool> TryToLead() override;
  std::string Holder() const override;
  std::int64_t epoch() const override;
  absl::Status Lost() const override;
  void OnLost(std::function<void(const absl::Status&)> hook) override { on_lost_ = std::move(hook); }
  absl::StatusOr<std::string> ArtifactRoot() override;
  absl::Status BindArtifactRoot(const std::string& root_id) override;

  // For the lanes: another session to the same server, and who to be.
  absl::StatusOr<std::unique_ptr<PostgresConnection>> Connect() const { return PostgresConnection::Open(target_, clock_); }
  const std::string& name() const { return target_.name(); }
  // Waits; `Lost` as soon as we lead no more.
  absl::Status PauseWhileLeading(std::int64_t duration_ms);
  // ABORTED in words that say who leads now.
  absl::Status Deposed(PostgresConnection* connection) const;

 private:
  PostgresLease(PostgresTarget target, const PostgresOptions& options, const Clock* clock)
      : target_(std::move(target)), options_(options), clock_(clock) {}
  absl::StatusOr<bool> Take();
  absl::StatusOr<bool> Renew();
  void KeepAlive();
  void Lose(const absl::Status& why);
  absl::Status LostLocked() const;

  const PostgresTarget target_;
  const PostgresOptions options_;
  const Clock* const clock_;
  // The standby's, then the thread's.
  std::unique_ptr<PostgresConnection> connection_;
  std::string last_problem_;
  std::function<void(const absl::Status&)> on_lost_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string seen_holder_;
  std::int64_t epoch_ = 0;
  // By our own clock: no later than the database's `expires`, since it counts from before the question left.
  std::int64_t valid_until_ms_ = 0;
  absl::Status lost_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace entrain::store
