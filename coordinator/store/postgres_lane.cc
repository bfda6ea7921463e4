#include "coordinator/store/postgres_lane.h"

#include <algorithm>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::store {
namespace {

constexpr std::int64_t kFirstPauseMs = 20;
constexpr std::int64_t kLongestPauseMs = 1'000;

// An older leader's or session's row is passed, a newer leader's is not.
const char* const kTakeFence = "UPDATE fences SET epoch = $1, token = token + 1 WHERE lane = $2 AND epoch <= $1 RETURNING token";

// A refusal in person, such as "too many clients", may pass as well while we lead.
bool MayPass(const absl::Status& status) { return absl::IsUnavailable(status) || absl::IsFailedPrecondition(status); }

}  // namespace

std::string PostgresLane::FenceSql(const std::string& lane) {
  return StrCat("SELECT 1 FROM fences WHERE lane = '", lane, "' AND epoch = $1 AND token = $2 FOR SHARE");
}

absl::StatusOr<std::int64_t> PostgresLane::TakeFence() {
  ENTRAIN_ASSIGN_OR_RETURN(connection_, lease_->Connect());
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows taken, connection_->Run(kTakeFence, PostgresValues().Int(lease_->epoch()).Text(lane_)));
  if (taken.size() == 0) return lease_->Deposed(connection_.get());
  return taken.Int(0, 0);
}

absl::Status PostgresLane::Fence() {
  for (std::int64_t pause_ms = kFirstPauseMs;; pause_ms = std::min(2 * pause_ms, kLongestPauseMs)) {
    const absl::StatusOr<std::int64_t> taken = TakeFence();
    if (taken.ok()) {
      token_ = *taken;
      return absl::OkStatus();
    }
    if (!MayPass(taken.status())) return taken.status();
    Log(LogLevel::kWarning, "store out of reach", {{"lane", lane_}, {"why", std::string(taken.status().message())}});
    ENTRAIN_RETURN_IF_ERROR(lease_->PauseWhileLeading(pause_ms));
  }
}

absl::StatusOr<bool> PostgresLane::TryWrite(const std::string& sql, const std::function<void(PostgresValues*)>& bind) {
  PostgresValues values;
  values.Int(lease_->epoch()).Int(token_);
  bind(&values);
  ENTRAIN_ASSIGN_OR_RETURN(const PostgresRows rows, connection_->Run(sql, values));
  return rows.size() == 1 && rows.Int(0, 0) == 1;
}

absl::Status PostgresLane::Write(const std::string& sql, const std::function<void(PostgresValues*)>& bind,
                                 const std::function<absl::StatusOr<bool>()>& landed) {
  for (;;) {
    const absl::StatusOr<bool> written = TryWrite(sql, bind);
    if (written.ok() && *written) return absl::OkStatus();
    if (written.ok()) return lease_->Deposed(connection_.get());
    if (!absl::IsUnavailable(written.status())) return written.status();
    Log(LogLevel::kWarning, "the outcome of a commit is not known", {{"lane", lane_}, {"why", std::string(written.status().message())}});
    absl::StatusOr<bool> there = absl::UnavailableError("not asked yet");
    while (!there.ok()) {
      ENTRAIN_RETURN_IF_ERROR(Fence());
      there = landed();
      if (!there.ok() && !absl::IsUnavailable(there.status())) return there.status();
    }
    if (*there) return absl::OkStatus();
  }
}

absl::StatusOr<PostgresRows> PostgresReader::Run(const std::string& sql, const PostgresValues& values) {
  for (std::int64_t pause_ms = kFirstPauseMs;; pause_ms = std::min(2 * pause_ms, kLongestPauseMs)) {
    absl::Status status;
    if (connection_ == nullptr) {
      absl::StatusOr<std::unique_ptr<PostgresConnection>> opened = lease_->Connect();
      status = opened.status();
      if (opened.ok()) connection_ = *std::move(opened);
      if (!status.ok() && !MayPass(status)) return status;
    }
    if (connection_ != nullptr) {
      absl::StatusOr<PostgresRows> rows = connection_->Run(sql, values);
      if (rows.ok() || !absl::IsUnavailable(rows.status())) return rows;
      connection_.reset();
    }
    ENTRAIN_RETURN_IF_ERROR(lease_->PauseWhileLeading(pause_ms));
  }
}

}  // namespace entrain::store
