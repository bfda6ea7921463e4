#include "coordinator/store/postgres_lease.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/store/postgres_schema.h"

namespace entrain::store {
namespace {

// After a renewal that failed.
constexpr std::int64_t kRetryMs = 200;

const char* const kTakeLease =
    "UPDATE leader SET epoch = epoch + 1, holder = $1, expires = clock_timestamp() + $2 * interval '1 millisecond'"
    " WHERE expires <= clock_timestamp() RETURNING epoch";
const char* const kRenewLease =
    "UPDATE leader SET expires = clock_timestamp() + $2 * interval '1 millisecond' WHERE epoch = $1 RETURNING epoch";
const char* const kEndLease = "UPDATE leader SET expires = clock_timestamp() WHERE epoch = $1";
const char* const kBindRoot =
    "UPDATE leader SET artifact_root = $1 WHERE artifact_root = '' OR artifact_root = $1 RETURNING epoch";

}  // namespace

absl::StatusOr<std::unique_ptr<Leadership>> OpenLeadership(const PostgresOptions& options, const Clock* clock) {
  return PostgresLease::Open(options, clock);
}

absl::StatusOr<std::unique_ptr<PostgresLease>> PostgresLease::Open(const PostgresOptions& options, const Clock* clock) {
  ENTRAIN_ASSIGN_OR_RETURN(PostgresTarget target, PostgresTarget::Parse(options.url, options.password_file));
  std::unique_ptr<PostgresLease> lease(new PostgresLease(std::move(target), options, clock));
  ENTRAIN_ASSIGN_OR_RETURN(lease->connection_, lease->Connect());
  ENTRAIN_RETURN_IF_ERROR(CreatePostgresSchema(lease->connection_.get(), lease->name()));
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows fsync, lease->connection_->Run("SELECT current_setting('fsync')"));
  if (fsync.Text(0, 0) == "off") {
    Log(LogLevel::kWarning, "the PostgreSQL server runs with fsync off: a power loss there loses what was acknowledged", {{"store", lease->name()}});
  }
  return lease;
}

PostgresLease::~PostgresLease() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (epoch_ == 0 || !LostLocked().ok() || connection_ == nullptr) return;
  connection_->Run(kEndLease, PostgresValues().Int(epoch_)).status().IgnoreError();
}

absl::StatusOr<bool> PostgresLease::TryToLead() {
  absl::StatusOr<bool> taken = Take();
  if (!taken.ok() && absl::IsUnavailable(taken.status())) {
    connection_.reset();
    const std::string problem(taken.status().message());
    // Said once, not at every try.
    if (problem != last_problem_) Log(LogLevel::kWarning, "cannot ask for the lease", {{"why", problem}});
    last_problem_ = problem;
    return false;
  }
  last_problem_.clear();
  return taken;
}

absl::StatusOr<bool> PostgresLease::Take() {
  if (connection_ == nullptr) {
    ENTRAIN_ASSIGN_OR_RETURN(connection_, Connect());
  }
  const std::int64_t asked_ms = clock_->BootMs();
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows taken,
                           connection_->Run(kTakeLease, PostgresValues().Text(options_.holder).Int(options_.lease_ms)));
  if (taken.size() == 0) {
    ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows leader, connection_->Run("SELECT holder FROM leader"));
    std::lock_guard<std::mutex> lock(mutex_);
    seen_holder_ = leader.size() > 0 ? leader.Text(0, 0) : "";
    return false;
  }
  ENTRAIN_RETURN_IF_ERROR(MigratePostgresSchema(connection_.get(), name()));
  std::lock_guard<std::mutex> lock(mutex_);
  epoch_ = taken.Int(0, 0);
  seen_holder_ = options_.holder;
  valid_until_ms_ = asked_ms + options_.lease_ms;
  thread_ = std::thread([this] { KeepAlive(); });
  return true;
}

void PostgresLease::KeepAlive() {
  std::int64_t pause_ms = options_.lease_ms / 3;
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (changed_.wait_for(lock, std::chrono::milliseconds(pause_ms), [&] { return ending_; })) return;
    }
    if (const absl::Status lost = Lost(); !lost.ok()) return Lose(lost);
    const absl::StatusOr<bool> renewed = Renew();
    if (renewed.ok() && !*renewed) return Lose(Deposed(connection_.get()));
    if (renewed.ok()) {
      last_problem_.clear();
    } else {
      connection_.reset();
      const std::string problem(renewed.status().message());
      if (problem != last_problem_) Log(LogLevel::kWarning, "lease not renewed", {{"why", problem}});
      last_problem_ = problem;
    }
    pause_ms = renewed.ok() ? options_.lease_ms / 3 : kRetryMs;
  }
}

absl::StatusOr<bool> PostgresLease::Renew() {
  if (connection_ == nullptr) {
    ENTRAIN_ASSIGN_OR_RETURN(connection_, Connect());
  }
  const std::int64_t asked_ms = clock_->BootMs();
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows renewed, connection_->Run(kRenewLease, PostgresValues().Int(epoch_).Int(options_.lease_ms)));
  if (renewed.size() == 0) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  valid_until_ms_ = asked_ms + options_.lease_ms;
  return true;
}

void PostgresLease::Lose(const absl::Status& why) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    lost_ = why;
    changed_.notify_all();
  }
  if (on_lost_) on_lost_(why);
}

absl::Status PostgresLease::LostLocked() const {
  if (!lost_.ok() || epoch_ == 0) return lost_;
  const std::int64_t late_ms = clock_->BootMs() - valid_until_ms_;
  if (late_ms < 0) return absl::OkStatus();
  return absl::UnavailableError(StrCat(name(), ": the lease of epoch ", epoch_, " was not renewed within ", options_.lease_ms,
                                       " ms: this coordinator leads no more"));
}

absl::Status PostgresLease::Lost() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return LostLocked();
}

std::string PostgresLease::Holder() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return seen_holder_;
}

std::int64_t PostgresLease::epoch() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return epoch_;
}

absl::Status PostgresLease::PauseWhileLeading(std::int64_t duration_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(duration_ms), [&] { return !LostLocked().ok() || ending_; });
  if (ending_) return absl::UnavailableError("the coordinator is shutting down");
  return LostLocked();
}

absl::Status PostgresLease::Deposed(PostgresConnection* connection) const {
  const absl::StatusOr<PostgresRows> leader = connection->Run("SELECT epoch, holder FROM leader");
  if (!leader.ok() || leader->size() == 0) return absl::AbortedError(StrCat(name(), ": this coordinator leads no more"));
  return absl::AbortedError(StrCat(name(), ": coordinator ", leader->Text(0, 1), " leads since epoch ", leader->Int(0, 0)));
}

absl::StatusOr<std::string> PostgresLease::ArtifactRoot() {
  ENTRAIN_ASSIGN_OR_RETURN(const auto connection, Connect());
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows root, connection->Run("SELECT artifact_root FROM leader"));
  return root.size() > 0 ? root.Text(0, 0) : std::string();
}

absl::Status PostgresLease::BindArtifactRoot(const std::string& root_id) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto connection, Connect());
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows bound, connection->Run(kBindRoot, PostgresValues().Text(root_id)));
  if (bound.size() > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat(name(), " belongs to another artifact root: its coordinators must share one folder"));
}

}  // namespace entrain::store
