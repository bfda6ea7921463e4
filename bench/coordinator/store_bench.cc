// Durable state transitions a second: people submit sweeps through gRPC to a coordinator with a SQLite store on a real file system, or one on a
// PostgreSQL server that is there, each acknowledged only after the sync of the transaction that holds it.
#include <sys/statfs.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <grpcpp/grpcpp.h>

#include "base/clock.h"
#include "base/random.h"
#include "base/strings.h"
#include "bench/coordinator/disk.h"
#include "coordinator/server/coordinator.h"
#include "entrain/v1/sweep_service.grpc.pb.h"

namespace entrain::bench {
namespace {

constexpr const char* kHash = "0123456789abcdef0123456789abcdef";
constexpr long kTmpfs = 0x01021994;

struct Flags {
  std::string folder = "bench-store-data";
  std::string store;  // empty: SQLite
  int submitters = 64;
  int runs = 8;
  double seconds = 10.0;
};

v1::SubmitRequest RequestOf(int runs, const std::string& key) {
  std::string seeds;
  for (int seed = 1; seed <= runs; ++seed) StrAppend(&seeds, seed == 1 ? "" : ", ", seed);
  v1::SubmitRequest request;
  request.set_yaml(StrCat("name: bench\ndata: {dataset: text@", kHash, "}\nmodel: {n_layer: 2, n_head: 2, n_embd: 16}\n",
                          "train: {steps: 100, batch_size: 4, context: 16}\nvariants: [SM+LN+G]\naxes: {train.seed: [", seeds, "]}\n"));
  request.set_idempotency_key(key);
  request.set_owner("bench");
  return request;
}

void PrepareDataset(const std::string& artifacts) {
  std::filesystem::create_directories(StrCat(artifacts, "/datasets/", kHash));
  std::ofstream(StrCat(artifacts, "/datasets/", kHash, "/dataset.json")) << "{\"vocab_size\": 256}";
}

struct Totals {
  std::atomic<std::int64_t> sweeps{0};
  std::atomic<std::int64_t> failed{0};
  std::vector<std::vector<double>> latencies_ms;
};

void Submit(const std::string& address, const Flags& flags, int submitter, std::int64_t until_ns, Totals* totals) {
  grpc::ChannelArguments arguments;
  arguments.SetInt("entrain.bench.submitter", submitter);  // a connection of its own
  const auto stub = v1::SweepService::NewStub(grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  const SystemClock clock;
  for (int i = 0; clock.BootNs() < until_ns; ++i) {
    const v1::SubmitRequest request = RequestOf(flags.runs, StrCat(submitter, "-", i));
    grpc::ClientContext context;
    v1::SubmitResponse response;
    const std::int64_t begin_ns = clock.BootNs();
    if (stub->Submit(&context, request, &response).ok()) {
      ++totals->sweeps;
      totals->latencies_ms[static_cast<std::size_t>(submitter)].push_back(static_cast<double>(clock.BootNs() - begin_ns) / 1e6);
    } else {
      ++totals->failed;
    }
  }
}

int Run(const Flags& flags) {
  std::filesystem::remove_all(flags.folder);
  std::filesystem::create_directories(flags.folder);
  struct statfs file_system {};
  if (statfs(flags.folder.c_str(), &file_system) == 0 && file_system.f_type == kTmpfs) std::printf("warning: %s is on tmpfs, whose sync does nothing\n", flags.folder.c_str());
  const std::vector<double> disk_us = MeasureDiskSyncsUs(flags.folder, 300);
  server::Options options;
  options.data_dir = flags.folder;
  options.artifacts_dir = flags.folder + "/artifacts";
  options.listen = "127.0.0.1:0";
  // All submitters are one client: what one may ask of a coordinator is not what is measured.
  options.access.requests_per_second = 1e9;
  options.postgres.url = flags.store;
  options.postgres.holder = "bench";
  PrepareDataset(options.artifacts_dir);
  const SystemClock clock;
  SystemIdSource ids;
  auto coordinator = server::Coordinator::Start(options, &clock, &ids);
  if (!coordinator.ok()) {
    std::printf("%s\n", coordinator.status().ToString().c_str());
    return 1;
  }
  Totals totals;
  totals.latencies_ms.resize(static_cast<std::size_t>(flags.submitters));
  const SyncCounts before = SyncsSoFar();
  const std::int64_t begin_ns = clock.BootNs();
  const std::int64_t until_ns = begin_ns + static_cast<std::int64_t>(flags.seconds * 1e9);
  std::vector<std::thread> threads;
  for (int i = 0; i < flags.submitters; ++i) threads.emplace_back([&, i] { Submit((*coordinator)->address(), flags, i, until_ns, &totals); });
  for (std::thread& thread : threads) thread.join();
  const double seconds = static_cast<double>(clock.BootNs() - begin_ns) / 1e9;
  const SyncCounts after = SyncsSoFar();
  std::vector<double> latencies_ms;
  for (const auto& some : totals.latencies_ms) latencies_ms.insert(latencies_ms.end(), some.begin(), some.end());
  const auto sweeps = static_cast<double>(totals.sweeps.load());
  const double runs = sweeps * flags.runs;
  const auto syncs = static_cast<double>(after.calls - before.calls);
  std::printf("%d submitters over gRPC, sweeps of %d runs, %.1f s; %lld calls failed\n", flags.submitters, flags.runs, seconds,
              static_cast<long long>(totals.failed.load()));
  std::printf("acknowledged: %.0f sweeps/s, %.0f runs queued/s (durable state transitions); a call takes %.1f ms (median), %.1f ms (p99)\n", sweeps / seconds,
              runs / seconds, QuantileOf(latencies_ms, 0.5), QuantileOf(latencies_ms, 0.99));
  // The server's are its own.
  if (flags.store.empty()) std::printf("syncs: %.0f in all, %.0f a second, %.0f us each; %.1f transitions a sync\n", syncs, syncs / seconds,
              syncs == 0 ? 0.0 : static_cast<double>(after.total_ns - before.total_ns) / syncs / 1000.0, runs / syncs);
  std::printf("the disk's own sync of 4 KiB: %.0f us (median), %.0f us (p99)\n", QuantileOf(disk_us, 0.5), QuantileOf(disk_us, 0.99));
  const absl::Status stopped = (*coordinator)->Stop();
  coordinator->reset();
  std::filesystem::remove_all(flags.folder);
  return stopped.ok() && totals.failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace entrain::bench

int main(int argc, char** argv) {
  entrain::bench::Flags flags;
  CLI::App app("Measures durable state transitions a second through gRPC and SQLite or PostgreSQL.");
  app.add_option("--folder", flags.folder, "where the databases go; a real file system")->capture_default_str();
  app.add_option("--store", flags.store, "postgresql://... of an empty database: PostgreSQL instead of SQLite");
  app.add_option("--submitters", flags.submitters, "at once")->capture_default_str();
  app.add_option("--runs", flags.runs, "of one sweep")->capture_default_str();
  app.add_option("--seconds", flags.seconds, "how long")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return entrain::bench::Run(flags);
}
