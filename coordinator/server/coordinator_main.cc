// entrain-coordinator: schedules the runs of every sweep, keeps what happened, answers people and workers.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <utility>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include "base/build_id.h"
#include "base/files.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/open_pool.h"
#include "coordinator/rpc/grpc_server.h"
#include "coordinator/server/backup.h"
#include "coordinator/server/coordinator.h"
#include "coordinator/server/redecide.h"
#include "coordinator/server/retention_flags.h"
#include "transport/http_post.h"
#include "transport/tls.h"

namespace {

using entrain::server::Coordinator;

constexpr int kExitUsage = 64;
constexpr std::int64_t kMetricsIntervalMs = 1'000;
// How soon a coordinator that must end does.
constexpr long kLookIntervalNs = 100'000'000;
// How often a standby asks for the lease.
constexpr long kStandbyIntervalNs = 250'000'000;

struct Flags {
  entrain::server::Options options;
  std::string address_file;
  std::string metrics_address_file;
  std::vector<std::string> pool_files;
  bool replay = false;
  std::string backup_to;
  std::string restore_from;
};

const char* const kExamples = R"(Examples:
  entrain-coordinator
      keeps its data in ./entrain-data and listens on 127.0.0.1:7070
  entrain-coordinator --data-dir /var/lib/entrain --artifacts /srv/artifacts --metrics 127.0.0.1:9464
  entrain-coordinator --listen 0.0.0.0:7070 --tls-ca ca.pem --tls-cert coordinator.pem --tls-key coordinator.key
      serves other machines: workers and people need certificates of the same authority
  entrain-coordinator --data-dir D --listen 127.0.0.1:0 --address-file D/address
      takes a free port and writes it to D/address once it serves
  entrain-coordinator --store postgresql://entrain@db/entrain --store-password-file F --artifacts /srv/artifacts --listen ...
      one of several on one database: one leads, the others wait until its lease ends; all need the same artifact folder
  entrain-coordinator replay --data-dir D
      decides D's stored events again with this build and says whether the same facts come out; only reads
)";

void Declare(CLI::App* app, Flags* flags) {
  entrain::server::Options& options = flags->options;
  app->set_version_flag("--version", entrain::VersionLine("entrain-coordinator"));
  app->add_option("--data-dir", options.data_dir, "Folder of the databases")->capture_default_str();
  app->add_option("--store", options.postgres.url,
                  "postgresql://[USER@]HOST[:PORT]/DATABASE: PostgreSQL instead of --data-dir; never with a password in it")
      ->envname("ENTRAIN_STORE");
  app->add_option("--store-password-file", options.postgres.password_file,
                  "File whose first line is the store's password (or PGPASSFILE, or a service file)");
  app->add_option("--leader-lease-ms", options.postgres.lease_ms, "With --store: a leader that could not renew its lease for so long leads no more")
      ->capture_default_str()->check(CLI::Range(500, 600'000));
  app->add_option("--listen", options.listen, "Address for people and workers; port 0 takes a free one")->capture_default_str();
  app->add_option("--tls-ca", options.tls.ca, "Certificates that workers' and people's are checked against (PEM); turns TLS on");
  app->add_option("--tls-cert", options.tls.certificate, "This coordinator's certificate (PEM)");
  app->add_option("--tls-key", options.tls.key, "Its private key (PEM); all three are read again when they change");
  app->add_option("--tokens", options.access.tokens_file, "File of people's tokens (entrain token create); without it a certificate, or being on this machine, suffices");
  app->add_option("--max-requests-per-second", options.access.requests_per_second, "Calls of one person; a worker's certificate has ten times as many")
      ->capture_default_str()->check(CLI::Range(1.0, 1e6));
  app->add_option("--max-streams-per-client", options.access.streams_per_client, "Streams that one client may have open")
      ->capture_default_str()->check(CLI::Range(4, 100'000));
  app->add_option("--slow-stream-ms", options.access.slow_stream_ms, "A stream whose other end neither sends nor takes what it must for so long is ended")
      ->capture_default_str()->check(CLI::Range(1'000, 86'400'000));
  app->add_option("--address-file", flags->address_file, "Where to write host:port once serving");
  app->add_option("--metrics", options.metrics_listen, "Address of /metrics; none without it");
  app->add_option("--metrics-address-file", flags->metrics_address_file, "Where to write the metrics' host:port");
  app->add_option("--artifacts", options.artifacts_dir, "Artifact root: token shards and checkpoints (default DATA_DIR/artifacts)");
  app->add_option("--webhook", options.webhook, "http:// or https:// address to which every verdict is posted as JSON (docs/policy.md)");
  app->add_option("--webhook-secret-file", options.webhook_secret_file, "File with the secret that signs them (HMAC-SHA256)");
  app->add_option("--lease-ms", options.lease_ms, "A worker not heard for so long counts as lost")
      ->capture_default_str()->check(CLI::Range(100, 86'400'000));
  app->add_option("--heartbeat-ms", options.heartbeat_ms, "How often workers report; at most a third of the lease")
      ->capture_default_str()->check(CLI::Range(10, 3'600'000));
  app->add_option("--age-limit-ms", options.age_limit_ms, "A run so long at the head of its queue goes before all others of its priority")
      ->capture_default_str()->check(CLI::Range(1'000, 2'000'000'000));
  app->add_option("--min-run-before-preempt-ms", options.min_run_before_preempt_ms, "An attempt that was up for less is not preempted")
      ->capture_default_str()->check(CLI::Range(0, 2'000'000'000));
  app->add_option("--quarantine-after", options.quarantine_after, "Launch or device failures in a row that put a machine into quarantine; 0: never")
      ->capture_default_str()->check(CLI::Range(0, 16));
  app->add_option("--quarantine-ms", options.quarantine_ms, "How long a quarantine lasts that nobody ends")
      ->capture_default_str()->check(CLI::Range(1'000, 2'000'000'000));
  app->add_option("--snapshot-every-facts", options.snapshot_every_facts, "New facts after which the journal gets a snapshot")
      ->capture_default_str()->check(CLI::Range(1, 1'000'000'000));
  app->add_option("--pool", flags->pool_files, "Pool file: machines that Slurm or Kubernetes gives as they are needed (docs/pools.md); may be given several times");
  CLI::App* replay = app->add_subcommand("replay", "Decides the stored events again and compares the facts; only reads");
  // --data-dir and the limits (as the coordinator had them) may follow the word.
  replay->fallthrough()->callback([flags] { flags->replay = true; });
  CLI::App* backup = app->add_subcommand("backup", "Copies the store of --data-dir, whether its coordinator runs or not");
  backup->fallthrough()->add_option("--to", flags->backup_to, "Folder to make; as the coordinator sees it when it runs")->required();
  CLI::App* restore = app->add_subcommand("restore", "Puts a backup into --data-dir, which must hold no store");
  restore->fallthrough()->add_option("--from", flags->restore_from, "A backup's folder")->required();
  app->add_flag("--after-restore", options.after_restore,
                "For one start, when the store came back otherwise than by restore (a volume snapshot, pg_restore): fences every attempt of before");
  entrain::server::DeclareRetention(app, &options);
  app->footer(kExamples);
}

// With each provider's own part, so that a mistake is told before anything starts.
absl::Status ReadPools(Flags* flags) {
  static entrain::SystemClock clock;
  for (const std::string& path : flags->pool_files) {
    ENTRAIN_ASSIGN_OR_RETURN(entrain::pool::PoolFile file, entrain::pool::ReadPoolFile(path));
    ENTRAIN_RETURN_IF_ERROR(entrain::pool::OpenPool(file, &clock, [](std::int64_t) { return false; }).status());
    flags->options.pools.push_back(std::move(file));
  }
  return absl::OkStatus();
}

// What the flags say together; the reason when they cannot be served.
std::string WhatIsWrong(const Flags& flags) {
  const std::string& listen = flags.options.listen;
  if (listen.rfind(':') == std::string::npos) return entrain::StrCat("--listen ", listen, " is not HOST:PORT");
  if (!flags.options.tls.empty()) {
    if (const absl::Status usable = entrain::transport::CheckTlsFiles(flags.options.tls); !usable.ok()) return std::string(usable.message());
  } else if (!entrain::transport::IsLoopback(listen)) {
    return entrain::StrCat("--listen ", listen, " can be reached from other machines and needs --tls-ca, --tls-cert and --tls-key; "
                           "without TLS use 127.0.0.1, [::1] or localhost");
  }
  if (!flags.options.postgres.url.empty() && flags.options.artifacts_dir.empty()) {
    return "--store needs --artifacts: the folder that all coordinators of this store share";
  }
  if (!flags.options.webhook.empty()) {
    if (const auto url = entrain::transport::ParseHttpUrl(flags.options.webhook); !url.ok()) return entrain::StrCat("--webhook ", std::string(url.status().message()));
  }
  for (std::size_t i = 0; i < flags.options.pools.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto& [a, b] = std::pair(flags.options.pools[j], flags.options.pools[i]);
      if (a.limits.name == b.limits.name) return entrain::StrCat(b.path, ": the pool ", b.limits.name, " is that of ", a.path, " too");
    }
  }
  if (flags.options.heartbeat_ms * 3 > flags.options.lease_ms) {
    return entrain::StrCat("--heartbeat-ms ", flags.options.heartbeat_ms, " is more than a third of --lease-ms ",
                           flags.options.lease_ms);
  }
  return "";
}

// Which process leads, for people who read another's log.
std::string HolderName(const std::string& listen) {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return entrain::StrCat(host, " (", listen, ", process ", getpid(), ")");
}

absl::Status AnnounceMetrics(const Flags& flags, const Coordinator& coordinator) {
  if (flags.metrics_address_file.empty()) return absl::OkStatus();
  return entrain::WriteFileAtomically(flags.metrics_address_file, coordinator.metrics_address() + "\n");
}

absl::Status Announce(const Flags& flags, const Coordinator& coordinator) {
  if (!flags.address_file.empty()) {
    ENTRAIN_RETURN_IF_ERROR(entrain::WriteFileAtomically(flags.address_file, coordinator.address() + "\n"));
  }
  const bool postgres = !flags.options.postgres.url.empty();
  entrain::Log(entrain::LogLevel::kInfo, "serving", {{"address", coordinator.address()},
                                                     {"metrics", coordinator.metrics_address()},
                                                     {"store", postgres ? "postgresql" : flags.options.data_dir},
                                                     {"build", std::string(entrain::BuildId())}});
  return absl::OkStatus();
}

// The two stores' histories are read alike.
absl::StatusOr<entrain::store::History> ReadHistory(const Flags& flags) {
  static entrain::SystemClock clock;
  if (!flags.options.postgres.url.empty()) return entrain::store::ReadPostgresHistory(flags.options.postgres, &clock);
  return entrain::store::ReadHistory(flags.options.data_dir + "/coordinator.db");
}

absl::Status Replay(const Flags& flags) {
  const entrain::core::CoreConfig config = entrain::server::CoreConfigOf(flags.options);
  ENTRAIN_ASSIGN_OR_RETURN(const entrain::store::History history, ReadHistory(flags));
  const entrain::server::Redecision result = entrain::server::Redecide(history, config);
  std::cout << entrain::server::TextOf(result) << std::flush;
  if (result.difference.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError("this build decides otherwise than the one that stored the events");
}

constexpr std::int64_t kBackupPatienceMs = 10'000;

absl::Status BackUp(const Flags& flags) {
  static entrain::SystemClock clock;
  if (!flags.options.postgres.url.empty()) return absl::InvalidArgumentError("a PostgreSQL store is backed up with pg_dump: docs/operations.md");
  absl::StatusOr<std::int64_t> bytes = entrain::server::BackUpStopped(flags.options.data_dir, flags.backup_to, &clock);
  if (absl::IsUnavailable(bytes.status())) bytes = entrain::server::AskForBackup(flags.options.data_dir, flags.backup_to, clock, kBackupPatienceMs);
  ENTRAIN_RETURN_IF_ERROR(bytes.status());
  ENTRAIN_RETURN_IF_ERROR(entrain::server::CheckBackup(flags.backup_to));
  std::cout << "backed up " << *bytes << " bytes to " << flags.backup_to << "\n";
  return absl::OkStatus();
}

absl::Status Restore(const Flags& flags) {
  ENTRAIN_RETURN_IF_ERROR(entrain::server::RestoreBackup(flags.restore_from, flags.options.data_dir));
  std::cout << "restored " << flags.restore_from << " into " << flags.options.data_dir
            << "; the next start gives every unfinished run a new attempt and refuses those of before\n";
  return absl::OkStatus();
}

// True when a signal asked for the end within the interval.
bool AskedToEnd(const sigset_t& signals, long interval_ns) {
  const timespec interval{0, interval_ns};
  const int signal = sigtimedwait(&signals, nullptr, &interval);
  if (signal != SIGTERM && signal != SIGINT) return false;
  entrain::Log(entrain::LogLevel::kInfo, "stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
  return true;
}

// True once this coordinator leads, false when it is asked to end before.
absl::StatusOr<bool> AwaitLead(const sigset_t& signals, Coordinator* coordinator) {
  std::string leader;
  for (bool first = true;; first = false) {
    ENTRAIN_ASSIGN_OR_RETURN(const bool leads, coordinator->TryToLead());
    if (leads) return true;
    if (first || coordinator->Leader() != leader) {
      leader = coordinator->Leader();
      entrain::Log(entrain::LogLevel::kInfo, "standing by", {{"leader", leader}});
    }
    if (AskedToEnd(signals, kStandbyIntervalNs)) return false;
  }
}

// Until a signal asks for the end or the coordinator cannot go on.
absl::Status AwaitEnd(const sigset_t& signals, const entrain::Clock& clock, Coordinator* coordinator, entrain::server::BackupDesk* desk) {
  std::int64_t refreshed_ms = clock.BootMs() - kMetricsIntervalMs;
  for (;;) {
    if (clock.BootMs() - refreshed_ms >= kMetricsIntervalMs) {
      coordinator->RefreshMetrics();
      refreshed_ms = clock.BootMs();
    }
    if (desk != nullptr) desk->Look();
    if (AskedToEnd(signals, kLookIntervalNs)) return coordinator->Stop();
    if (const absl::Status failure = coordinator->failure(); !failure.ok()) return failure;
  }
}

absl::Status Run(const Flags& flags, const sigset_t& signals) {
  static entrain::SystemClock clock;
  static entrain::SystemIdSource ids;
  ENTRAIN_ASSIGN_OR_RETURN(const std::unique_ptr<Coordinator> coordinator, Coordinator::Prepare(flags.options, &clock, &ids));
  ENTRAIN_RETURN_IF_ERROR(AnnounceMetrics(flags, *coordinator));
  ENTRAIN_ASSIGN_OR_RETURN(const bool leads, AwaitLead(signals, coordinator.get()));
  if (!leads) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(coordinator->Lead());
  ENTRAIN_RETURN_IF_ERROR(Announce(flags, *coordinator));
  entrain::server::BackupDesk desk(flags.options.data_dir, [&](const std::string& to) { return coordinator->BackUp(to); });
  const bool postgres = !flags.options.postgres.url.empty();
  const absl::Status ended = AwaitEnd(signals, clock, coordinator.get(), postgres ? nullptr : &desk);
  if (!ended.ok()) {
    // Never on uncommitted state: no handler may answer anything any more.
    std::cerr << "entrain-coordinator: " << ended.message() << std::endl;
    std::_Exit(1);
  }
  return ended;
}

}  // namespace

int main(int argc, char** argv) {
  // Blocked before any thread starts, so that only AwaitEnd sees them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  // gRPC's own log would print its stack beside our one line.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  entrain::SetLogComponent("coordinator");

  Flags flags;
  CLI::App app{"Schedules the runs of every sweep, keeps what happened, answers people and workers."};
  Declare(&app, &flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  if (const absl::Status pools = ReadPools(&flags); !pools.ok()) {
    std::cerr << "entrain-coordinator: " << pools.message() << std::endl;
    return kExitUsage;
  }
  if (const std::string wrong = WhatIsWrong(flags); !wrong.empty()) {
    std::cerr << "entrain-coordinator: " << wrong << std::endl;
    return kExitUsage;
  }
  flags.options.postgres.holder = HolderName(flags.options.listen);
  const absl::Status status = flags.replay                  ? Replay(flags)
                              : !flags.backup_to.empty()    ? BackUp(flags)
                              : !flags.restore_from.empty() ? Restore(flags)
                                                            : Run(flags, signals);
  if (status.ok()) return 0;
  std::cerr << "entrain-coordinator: " << status.message() << std::endl;
  return 1;
}
