#include "coordinator/server/coordinator.h"

#include <array>
#include <limits>
#include <map>
#include <utility>
#include <variant>

#include "base/files.h"
#include "base/log.h"
#include "base/overloaded.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/open_pool.h"
#include "coordinator/rpc/notice_json.h"
#include "coordinator/server/artifact_root.h"
#include "coordinator/server/backup.h"

namespace entrain::server {
namespace {

// Time for running calls to end by themselves when the process stops.
constexpr std::int64_t kShutdownGraceMs = 300;

std::string HostOf(const std::string& address) { return address.substr(0, address.rfind(':')); }

// The step of the newest checkpoint whose samples are stored and that is still there: retention may have deleted those of the backup since.
std::int64_t UsableThrough(const core::Run& run, std::int64_t last_sample, const artifacts::ArtifactStore& artifacts) {
  for (auto checkpoint = run.checkpoints.rbegin(); checkpoint != run.checkpoints.rend(); ++checkpoint) {
    if (checkpoint->step <= last_sample && artifacts.Resolve(checkpoint->path).ok()) return checkpoint->step;
  }
  return 0;
}

}  // namespace

core::CoreConfig CoreConfigOf(const Options& options) {
  core::CoreConfig config;
  config.lease_ms = options.lease_ms;
  config.age_limit_ms = options.age_limit_ms;
  config.min_run_before_preempt_ms = options.min_run_before_preempt_ms;
  config.quarantine_after = options.quarantine_after;
  config.quarantine_ms = options.quarantine_ms;
  for (const pool::PoolFile& file : options.pools) {
    config.elastic.push_back(pool::ElasticOf(file.limits));
  }
  return config;
}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const Options& options, const Clock* clock, IdSource* ids) {
  ENTRAIN_ASSIGN_OR_RETURN(std::unique_ptr<Coordinator> coordinator, Prepare(options, clock, ids));
  ENTRAIN_ASSIGN_OR_RETURN(const bool leads, coordinator->TryToLead());
  if (!leads) return absl::UnavailableError(StrCat("coordinator ", coordinator->Leader(), " leads"));
  ENTRAIN_RETURN_IF_ERROR(coordinator->Lead());
  return coordinator;
}

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Prepare(const Options& options, const Clock* clock, IdSource* ids) {
  std::unique_ptr<Coordinator> coordinator(new Coordinator(options, clock, ids));
  ENTRAIN_RETURN_IF_ERROR(coordinator->OpenMetrics());
  ENTRAIN_RETURN_IF_ERROR(coordinator->OpenPools());
  if (options.postgres.url.empty()) return coordinator;
  ENTRAIN_ASSIGN_OR_RETURN(coordinator->leadership_, store::OpenLeadership(options.postgres, clock));
  coordinator->leadership_->OnLost([c = coordinator.get()](const absl::Status& why) { c->Fail(why); });
  ENTRAIN_ASSIGN_OR_RETURN(const std::string root, coordinator->leadership_->ArtifactRoot());
  if (!root.empty()) ENTRAIN_RETURN_IF_ERROR(CheckArtifactRoot(options.artifacts_dir, root));
  return coordinator;
}

absl::StatusOr<bool> Coordinator::TryToLead() { return leadership_ ? leadership_->TryToLead() : true; }

absl::Status Coordinator::Lead() {
  ENTRAIN_RETURN_IF_ERROR(OpenArtifacts());
  ENTRAIN_RETURN_IF_ERROR(OpenStore());
  return Serve();
}

Coordinator::~Coordinator() {
  Stop().IgnoreError();
  server_.reset();
  loop_.reset();
  store_.reset();
  // Its thread tells us of a lost lease; from here on a standby may lead.
  leadership_.reset();
}

absl::Status Coordinator::OpenMetrics() {
  if (options_.metrics_listen.empty()) return absl::OkStatus();
  ENTRAIN_ASSIGN_OR_RETURN(metrics_, metrics::CoordinatorMetrics::Serve(options_.metrics_listen, clock_));
  metrics_address_ = StrCat(HostOf(options_.metrics_listen), ":", metrics_->port());
  return absl::OkStatus();
}

absl::Status Coordinator::OpenPools() {
  for (const pool::PoolFile& file : options_.pools) {
    ENTRAIN_ASSIGN_OR_RETURN(std::unique_ptr<pool::PoolProvider> provider, pool::OpenPool(file, clock_, [this](std::int64_t ms) {
      published_.Pause(ms);
      return !published_.closed();
    }));
    pools_.push_back(std::move(provider));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::OpenArtifacts() {
  const std::string dir = options_.artifacts_dir.empty() ? options_.data_dir + "/artifacts" : options_.artifacts_dir;
  if (leadership_) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string root, ArtifactRootOf(dir, ids_));
    ENTRAIN_RETURN_IF_ERROR(leadership_->BindArtifactRoot(root));
  }
  ENTRAIN_ASSIGN_OR_RETURN(artifacts_, artifacts::OpenArtifactFolder(dir));
  return absl::OkStatus();
}

absl::Status Coordinator::OpenStore() {
  if (leadership_) {
    ENTRAIN_ASSIGN_OR_RETURN(store_, store::OpenPostgresStore(leadership_.get()));
  } else {
    ENTRAIN_RETURN_IF_ERROR(MakeFolders(options_.data_dir));
    ENTRAIN_ASSIGN_OR_RETURN(store_, store::OpenSqliteStore(options_.data_dir + "/coordinator.db"));
  }
  loop_ = std::make_unique<CoreLoop>(store_.get(), CoreConfigOf(options_), clock_, &published_, metrics_.get(),
                                     options_.snapshot_every_facts);
  ENTRAIN_RETURN_IF_ERROR(loop_->Recover());
  ENTRAIN_RETURN_IF_ERROR(FenceRestored());
  ENTRAIN_RETURN_IF_ERROR(OpenWebhook());
  loop_->OnFact([this](const domain::Fact& fact) { Tell(fact); });
  rpc::AccessOptions access = options_.access;
  access.tls = !options_.tls.empty();
  // Whoever leads next goes on with it.
  access.audit_file = (leadership_ ? options_.artifacts_dir : options_.data_dir) + "/audit.jsonl";
  ENTRAIN_ASSIGN_OR_RETURN(access_, rpc::Access::Open(access, clock_, [this](const std::string& limit) {
    if (metrics_) metrics_->CountLimitReached(limit);
  }));
  samples::LaneHooks hooks;
  hooks.emit = [this](EventBody event) { queue_.PostOwn(std::move(event)); };
  hooks.fatal = [this](const absl::Status& status) { Fail(status); };
  if (metrics_) hooks.stored = [this](std::int64_t samples) { metrics_->CountSamplesStored(samples); };
  lane_ = std::make_unique<samples::SampleLane>(store_.get(), &published_, std::move(hooks));
  return absl::OkStatus();
}

// Before anyone can speak to us: what they would say is of a history that this store does not hold.
absl::Status Coordinator::FenceRestored() {
  std::string why;
  if (!leadership_) {
    ENTRAIN_ASSIGN_OR_RETURN(why, RestoredMark(options_.data_dir));
  }
  if (why.empty() && options_.after_restore) why = "the store was restored";
  if (why.empty()) return absl::OkStatus();
  domain::StoreRestored event;
  event.reason = why;
  ENTRAIN_ASSIGN_OR_RETURN(event.highest_attempt, retention::HighestAttempt(artifacts_->root()));
  const samples::PublishedState::View state = published_.Get();
  for (const auto& [id, run] : state->runs) {
    if (domain::IsFinal(run->state)) continue;
    ENTRAIN_ASSIGN_OR_RETURN(const auto last, store_->ReadLastSample(id, run->spec->context, std::numeric_limits<std::int64_t>::max()));
    if (last.has_value()) event.samples.push_back({id, UsableThrough(*run, last->sample.step, *artifacts_)});
  }
  // Nobody is connected, and nobody waits for an answer.
  ENTRAIN_RETURN_IF_ERROR(loop_->Step({event}, [](const domain::Effect&) {}));
  Log(LogLevel::kWarning, "fenced after a restore", {{"reason", why}, {"attempt_floor", StrCat(published_.Get()->attempt_floor)}});
  return leadership_ ? absl::OkStatus() : RemoveRestoredMark(options_.data_dir);
}

absl::StatusOr<std::int64_t> Coordinator::BackUp(const std::string& to) {
  BackupParts parts;
  parts.data_dir = options_.data_dir;
  parts.copy_journal = [this](const std::string& path) { return loop_->CopyJournal(path); };
  parts.copy_samples = [this](const std::string& path) { return store_->CopySamples(path); };
  parts.clock = clock_;
  return WriteBackup(parts, to);
}

absl::Status Coordinator::OpenWebhook() {
  if (options_.webhook.empty()) return absl::OkStatus();
  WebhookOptions webhook;
  ENTRAIN_ASSIGN_OR_RETURN(webhook.url, transport::ParseHttpUrl(options_.webhook));
  if (!options_.webhook_secret_file.empty()) {
    ENTRAIN_ASSIGN_OR_RETURN(webhook.secret, ReadFile(options_.webhook_secret_file));
    while (!webhook.secret.empty() && (webhook.secret.back() == '\n' || webhook.secret.back() == '\r')) webhook.secret.pop_back();
    if (webhook.secret.empty()) return absl::InvalidArgumentError(StrCat(options_.webhook_secret_file, " holds no secret"));
  }
  notices_ = std::make_unique<NoticeSender>(std::move(webhook), clock_, [this](NoticeSender::Result result) {
    if (metrics_ && result == NoticeSender::Result::kDropped) metrics_->CountLimitReached("webhook");
  });
  return absl::OkStatus();
}

void Coordinator::Tell(const domain::Fact& fact) {
  decisions_.Add(fact);
  const auto* verdict = std::get_if<domain::VerdictRecorded>(&fact.body);
  if (verdict == nullptr || notices_ == nullptr) return;
  notices_->Post({rpc::NoticeId(verdict->run, verdict->verdict), rpc::NoticeJson(*published_.Get(), verdict->run, verdict->verdict, clock_->WallMs())});
}

rpc::ServiceContext Coordinator::MakeContext() {
  rpc::ServiceContext context;
  context.post = [this](EventBody event) { return queue_.Post(std::move(event)); };
  context.replies = &replies_;
  context.fleet = &fleet_;
  context.published = &published_;
  context.lane = lane_.get();
  context.samples = store_.get();
  context.logs = store_.get();
  context.artifacts = artifacts_.get();
  context.pins = &pins_;
  context.collect = [this](bool dry) { return retention_->Pass(dry); };
  context.ids = ids_;
  context.access = access_.get();
  context.pools = &board_;
  context.lease_ms = options_.lease_ms;
  context.heartbeat_interval_ms = options_.heartbeat_ms;
  if (metrics_) context.count_limit = [this](const std::string& limit) { metrics_->CountLimitReached(limit); };
  return context;
}

// With PostgreSQL nothing says that no other store has the same root: what its runs left is let lie.
absl::Status Coordinator::OpenRetention() {
  RetentionParts parts;
  parts.published = &published_;
  parts.store = store_.get();
  parts.lane = lane_.get();
  parts.pins = &pins_;
  parts.metrics = metrics_.get();
  parts.clock = clock_;
  parts.post = [this](EventBody event) { return queue_.Post(std::move(event)); };
  parts.root = artifacts_->root();
  if (!leadership_) {
    ENTRAIN_ASSIGN_OR_RETURN(const std::string store_id, StoreIdOf(options_.data_dir, ids_));
    ENTRAIN_ASSIGN_OR_RETURN(parts.owns_root, retention::ClaimRoot(parts.root, store_id));
    if (!parts.owns_root) Log(LogLevel::kWarning, "the artifact root is another store's: what no run here names is left alone", {{"root", parts.root}});
  }
  retention_ = std::make_unique<RetentionKeeper>(std::move(parts), options_.retention, options_.retention_interval_s);
  return absl::OkStatus();
}

absl::Status Coordinator::Serve() {
  ENTRAIN_RETURN_IF_ERROR(OpenRetention());
  const CoreLoop::EffectSink sink = [this](const domain::Effect& effect) { Send(effect); };
  loop_->SendRecoveryEffects(sink);
  core_thread_ = std::thread([this, sink] {
    const absl::Status status = loop_->Run(&queue_, sink);
    if (!status.ok()) Fail(status);
  });
  ENTRAIN_ASSIGN_OR_RETURN(server_, rpc::GrpcServer::Start(options_.listen, options_.tls, MakeContext()));
  address_ = StrCat(HostOf(options_.listen), ":", server_->port());
  if (!pools_.empty()) {
    keeper_ = std::make_unique<PoolKeeper>(std::exchange(pools_, {}), &published_, [this](domain::ActOnWorker act) { queue_.PostOwn(std::move(act)); },
                                           clock_, &board_, metrics_.get());
    keeper_->Start();
  }
  return absl::OkStatus();
}

void Coordinator::Send(const domain::Effect& effect) {
  std::visit(Overloaded{[this](const domain::Reply& reply) { replies_.Deliver(reply); },
                        [this](const domain::BeginAttempt& begin) { lane_->Handle(begin); },
                        [this](const domain::JudgeThrough& through) { lane_->Handle(through); },
                        [this](const auto& to_worker) { fleet_.Send(to_worker); }},
             effect);
}

void Coordinator::Fail(const absl::Status& status) {
  {
    std::lock_guard<std::mutex> lock(failure_mutex_);
    if (failure_.ok()) failure_ = status;
  }
  // No caller may wait for an answer that will not come.
  queue_.Close();
  replies_.Close();
}

absl::Status Coordinator::failure() const {
  {
    std::lock_guard<std::mutex> lock(failure_mutex_);
    if (!failure_.ok()) return failure_;
  }
  // By the clock, while the thread that renews the lease waits for a silent server.
  return leadership_ ? leadership_->Lost() : absl::OkStatus();
}

absl::Status Coordinator::Stop() {
  if (stopped_) return failure();
  stopped_ = true;
  published_.Close();
  keeper_.reset();
  fleet_.Close();
  // The handlers first: they may still wait for the core.
  if (server_) server_->Shutdown(kShutdownGraceMs);
  queue_.Close();
  retention_.reset();
  if (core_thread_.joinable()) core_thread_.join();
  replies_.Close();
  notices_.reset();
  lane_.reset();
  return failure();
}

void Coordinator::RefreshMetrics() {
  if (!metrics_) return;
  const samples::PublishedState::View state = published_.Get();
  std::map<std::string, std::int64_t> runs;
  for (int s = 0; s <= static_cast<int>(domain::RunState::kCancelled); ++s) {
    runs[std::string(domain::ToString(static_cast<domain::RunState>(s)))] = 0;
  }
  for (const auto& [id, run] : state->runs) ++runs[std::string(domain::ToString(run->state))];
  for (const auto& [name, count] : runs) metrics_->SetRunsInState(name, count);

  std::map<std::string, std::int64_t> workers{{"live", 0}, {"draining", 0}, {"silent", 0}, {"away", 0}};
  std::int64_t slots = 0;
  std::int64_t used = 0;
  for (const auto& [id, worker] : state->workers) {
    ++workers[worker->StatusText()];
    if (worker->silent) continue;
    slots += worker->info.slots;
    used += worker->SlotsUsed();
  }
  for (const auto& [name, count] : workers) metrics_->SetWorkersInState(name, count);
  metrics_->SetSlots(slots, used);
  // With PostgreSQL the artifacts are all that lies on a disk of ours.
  const absl::StatusOr<std::uint64_t> free = FreeBytes(leadership_ ? options_.artifacts_dir : options_.data_dir);
  if (free.ok()) metrics_->SetDiskFree(static_cast<std::int64_t>(*free));
}

}  // namespace entrain::server
