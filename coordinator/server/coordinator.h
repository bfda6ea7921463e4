// A whole coordinator: store, core loop, sample lane, services, metrics. What `entrain-coordinator` runs, and tests in their own process.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "artifacts/artifact_store.h"
#include "base/clock.h"
#include "base/random.h"
#include "coordinator/pool/board.h"
#include "coordinator/pool/pool_file.h"
#include "coordinator/rpc/grpc_server.h"
#include "coordinator/samples/sample_lane.h"
#include "coordinator/server/core_loop.h"
#include "coordinator/server/decision_log.h"
#include "coordinator/server/event_queue.h"
#include "coordinator/server/notice_sender.h"
#include "coordinator/server/pool_keeper.h"
#include "coordinator/server/retention_keeper.h"
#include "coordinator/store/postgres_store.h"
#include "coordinator/store/store.h"
#include "metrics/coordinator_metrics.h"

namespace entrain::server {

struct Options;
core::CoreConfig CoreConfigOf(const Options& options);

// Events that wait for the core; beyond it callers wait.
inline constexpr std::size_t kMaxWaitingEvents = 10'000;

struct Options {
  std::string data_dir = "entrain-data";  // holds coordinator.db and coordinator.samples.db
  // With an address the store is PostgreSQL and data_dir is not used; artifacts_dir is then the folder that all its coordinators share.
  store::PostgresOptions postgres;
  std::string artifacts_dir;              // empty: <data_dir>/artifacts
  std::string listen = "127.0.0.1:7070";
  transport::TlsFiles tls;     // empty: plain text, for loopback only
  rpc::AccessOptions access;   // tls and audit_file are set from what else is here
  std::string metrics_listen;  // empty: none
  std::string webhook;             // http:// or https:// address that every verdict is posted to; empty: none
  std::string webhook_secret_file;  // signs the notices; empty: they are not signed
  std::int64_t lease_ms = 15'000;
  // Of core::CoreConfig, which says what they mean.
  std::int64_t age_limit_ms = core::CoreConfig().age_limit_ms;
  std::int64_t min_run_before_preempt_ms = core::CoreConfig().min_run_before_preempt_ms;
  std::int64_t quarantine_after = core::CoreConfig().quarantine_after;
  std::int64_t quarantine_ms = core::CoreConfig().quarantine_ms;
  std::int64_t heartbeat_ms = 3'000;
  std::int64_t snapshot_every_facts = kSnapshotEveryFacts;
  std::vector<pool::PoolFile> pools;  // of different names
  retention::Limits retention;
  std::int64_t retention_interval_s = 600;  // 0: only when people ask
  // The store came back from a copy that was not made by `backup`: fence as after a restore.
  bool after_restore = false;
};

class Coordinator {
 public:
  // Recovers and serves. DATA_LOSS, UNAVAILABLE, ... name the file or the address; UNAVAILABLE also while another coordinator leads.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Start(const Options& options, const Clock* clock, IdSource* ids);
  // In three steps, for one that may have to wait its turn. Prepare serves /metrics and /healthz and asks for nothing yet.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Prepare(const Options& options, const Clock* clock, IdSource* ids);
  // True: Lead may be called. Always so with SQLite; with PostgreSQL once this coordinator holds the lease.
  absl::StatusOr<bool> TryToLead();
  // Who leads meanwhile; empty when that is not known.
  std::string Leader() const { return leadership_ ? leadership_->Holder() : ""; }
  absl::Status Lead();
  // Stops if Stop was not called.
  ~Coordinator();

  // host:port, with the port that was taken.
  const std::string& address() const { return address_; }
  // Empty without metrics.
  const std::string& metrics_address() const { return metrics_address_; }

  // Why the process must end, once it must; OK while all is well.
  absl::Status failure() const;
  // A complete copy of the store, while it serves. From any thread.
  absl::StatusOr<std::int64_t> BackUp(const std::string& to);
  // Brings the gauges up to date; a second apart is enough.
  void RefreshMetrics();
  // No new calls, the running ones get a moment, what was decided is finished and stored. Returns `failure`.
  absl::Status Stop();

 private:
  Coordinator(const Options& options, const Clock* clock, IdSource* ids) : options_(options), clock_(clock), ids_(ids) {}
  absl::Status OpenMetrics();
  absl::Status OpenArtifacts();
  absl::Status OpenStore();
  absl::Status Serve();
  absl::Status OpenWebhook();
  // The log and the receiver of notices; on the loop's thread.
  void Tell(const domain::Fact& fact);
  absl::Status OpenPools();
  absl::Status OpenRetention();
  absl::Status FenceRestored();
  void Send(const domain::Effect& effect);
  void Fail(const absl::Status& status);
  rpc::ServiceContext MakeContext();

  const Options options_;
  const Clock* const clock_;
  IdSource* const ids_;
  std::unique_ptr<store::Leadership> leadership_;  // null with SQLite
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<artifacts::ArtifactStore> artifacts_;
  artifacts::Pins pins_;
  std::unique_ptr<metrics::CoordinatorMetrics> metrics_;
  samples::PublishedState published_;
  EventQueue queue_{kMaxWaitingEvents};
  rpc::ReplyBoard replies_;
  rpc::FleetHub fleet_{&published_};
  std::unique_ptr<samples::SampleLane> lane_;
  std::unique_ptr<NoticeSender> notices_;
  DecisionLog decisions_;
  std::unique_ptr<CoreLoop> loop_;
  pool::PoolBoard board_;
  std::vector<std::unique_ptr<pool::PoolProvider>> pools_;  // until the keeper has them
  std::unique_ptr<PoolKeeper> keeper_;                      // null without pools
  std::unique_ptr<RetentionKeeper> retention_;
  std::unique_ptr<rpc::Access> access_;
  std::unique_ptr<rpc::GrpcServer> server_;
  std::thread core_thread_;
  std::string address_;
  std::string metrics_address_;
  mutable std::mutex failure_mutex_;
  absl::Status failure_;
  bool stopped_ = false;
};

}  // namespace entrain::server
