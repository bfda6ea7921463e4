// Samples at scale: many runs' steps streamed from a few workers through gRPC into the real coordinator, each batch acknowledged once it is
// durable. First a steady hour-like load, minute by minute; then rates that double until one does not hold.
#include <signal.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <grpcpp/grpcpp.h>

#include "base/clock.h"
#include "base/strings.h"
#include "bench/coordinator/child.h"
#include "entrain/v1/fleet_service.grpc.pb.h"
#include "entrain/v1/sweep_service.grpc.pb.h"

namespace entrain::bench {
namespace {

constexpr const char* kHash = "0123456789abcdef0123456789abcdef";
constexpr int kLayers = 12;
constexpr int kHeads = 12;
constexpr double kMaxP99Ms = 2'000.0;

struct Flags {
  std::string folder = "bench-samples-data";
  std::string program;
  int workers = 10;
  int runs = 1'000;
  double minutes = 20.0;
  double ramp_seconds = 20.0;
};

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

// One machine: it accepts whatever is launched, and sends a sample of every run when it is told to.
class LoadWorker {
 public:
  LoadWorker(const std::string& address, int number, int slots)
      : stub_(v1::FleetService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    control_ = stub_->Control(&control_context_);
    v1::WorkerMessage message;
    v1::Hello* hello = message.mutable_hello();
    hello->set_protocol_version(1);
    hello->set_worker_id(StrCat("load", number));
    hello->set_name(StrCat("host", number));
    hello->set_version("bench");
    hello->set_slot_kind("cpu");
    hello->set_slots(slots);
    hello->set_device("bench");
    hello->set_incarnation(1);
    control_->Write(message);
    samples_ = stub_->Samples(&samples_context_);
    control_reader_ = std::thread([this] { ReadControl(); });
    ack_reader_ = std::thread([this] { ReadAcks(); });
    heart_ = std::thread([this] { Beat(); });
  }
  ~LoadWorker() {
    stopping_ = true;
    heart_.join();
    samples_->WritesDone();
    control_context_.TryCancel();
    samples_context_.TryCancel();
    control_reader_.join();
    ack_reader_.join();
  }

  std::size_t launched() {
    std::lock_guard<std::mutex> lock(mutex_);
    return runs_.size();
  }

  // One step of every run. False when the stream has ended.
  bool SendStep() {
    std::vector<std::pair<v1::AttemptKey, std::int64_t>> steps;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      for (auto& [run, state] : runs_) steps.emplace_back(state.key, ++state.step);
    }
    for (const auto& [key, step] : steps) {
      v1::SampleBatch batch;
      *batch.mutable_key() = key;
      v1::Sample* sample = batch.add_samples();
      sample->set_step(step);
      sample->set_loss(4.0 - 1e-5 * static_cast<double>(step));
      sample->set_grad_norm(1.0);
      sample->set_lr(1e-3);
      sample->set_tokens(step * 4096);
      sample->set_tokens_per_second(4096.0);
      for (int i = 0; i < kLayers * kHeads; ++i) sample->add_entropy_nats(2.0F + 0.001F * static_cast<float>((step * 7 + i) % 100));
      for (int i = 0; i < kLayers; ++i) sample->add_max_abs_score(5.0F);
      batch.set_last_offset(static_cast<std::uint64_t>(step));
      batch.set_n_head(kHeads);
      batch.set_context(128);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        sent_ns_.emplace(std::pair(key.run_id(), step), clock_.BootNs());
      }
      if (!samples_->Write(batch)) return false;
    }
    return true;
  }

  std::vector<double> TakeLatenciesMs() {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::exchange(latencies_ms_, {});
  }
  std::size_t unacknowledged() {
    std::lock_guard<std::mutex> lock(mutex_);
    return sent_ns_.size();
  }

 private:
  struct Training {
    v1::AttemptKey key;
    std::int64_t step = 0;
  };

  void WriteControl(const v1::WorkerMessage& message) {
    std::lock_guard<std::mutex> lock(control_mutex_);
    control_->Write(message);
  }

  void ReadControl() {
    v1::CoordinatorMessage message;
    while (control_->Read(&message)) {
      if (!message.has_launch()) continue;
      v1::WorkerMessage started;
      started.mutable_started()->set_report(++reports_);
      *started.mutable_started()->mutable_key() = message.launch().key();
      WriteControl(started);
      std::lock_guard<std::mutex> lock(mutex_);
      runs_[message.launch().key().run_id()].key = message.launch().key();
    }
  }

  void ReadAcks() {
    v1::SampleAck ack;
    while (samples_->Read(&ack)) {
      const std::int64_t now_ns = clock_.BootNs();
      std::lock_guard<std::mutex> lock(mutex_);
      const auto sent = sent_ns_.find({ack.key().run_id(), static_cast<std::int64_t>(ack.last_offset())});
      if (sent == sent_ns_.end()) continue;
      latencies_ms_.push_back(static_cast<double>(now_ns - sent->second) / 1e6);
      sent_ns_.erase(sent);
    }
  }

  void Beat() {
    v1::WorkerMessage message;
    message.mutable_heartbeat();
    for (int i = 0; !stopping_; ++i) {
      if (i % 20 == 0) WriteControl(message);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }

  const SystemClock clock_;
  std::unique_ptr<v1::FleetService::Stub> stub_;
  grpc::ClientContext control_context_;
  grpc::ClientContext samples_context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::WorkerMessage, v1::CoordinatorMessage>> control_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SampleBatch, v1::SampleAck>> samples_;
  std::mutex control_mutex_;
  std::mutex mutex_;
  std::map<std::string, Training> runs_;
  std::map<std::pair<std::string, std::int64_t>, std::int64_t> sent_ns_;
  std::vector<double> latencies_ms_;
  std::uint64_t reports_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread control_reader_;
  std::thread ack_reader_;
  std::thread heart_;
};

void Submit(const std::string& address, int runs) {
  const auto stub = v1::SweepService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  std::string seeds;
  for (int seed = 1; seed <= runs; ++seed) StrAppend(&seeds, seed == 1 ? "" : ", ", seed);
  v1::SubmitRequest request;
  request.set_yaml(StrCat("name: bench\ndata: {dataset: text@", kHash, "}\nmodel: {n_layer: ", kLayers, ", n_head: ", kHeads, ", n_embd: 48}\n",
                          "train: {steps: 100000000, batch_size: 4, context: 128}\nvariants: [SM+LN+G]\naxes: {train.seed: [", seeds, "]}\n"));
  request.set_idempotency_key("bench");
  request.set_owner("bench");
  grpc::ClientContext context;
  v1::SubmitResponse response;
  const grpc::Status status = stub->Submit(&context, request, &response);
  if (!status.ok()) std::printf("submit: %s\n", status.error_message().c_str());
}

struct Interval {
  std::int64_t acknowledged = 0;
  double p50_ms = 0.0;
  double p99_ms = 0.0;
  std::size_t behind = 0;  // samples sent and not acknowledged at its end
  bool holds = true;
};

class Load {
 public:
  Load(const Flags& flags, const std::string& address) {
    const int slots = (flags.runs + flags.workers - 1) / flags.workers;
    for (int i = 0; i < flags.workers; ++i) workers_.push_back(std::make_unique<LoadWorker>(address, i, slots));
    Submit(address, flags.runs);
    while (Launched() < static_cast<std::size_t>(flags.runs)) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  std::size_t Launched() {
    std::size_t launched = 0;
    for (const auto& worker : workers_) launched += worker->launched();
    return launched;
  }

  // Every run takes `rate` steps a second, evenly spread.
  Interval Run(double rate, double seconds) {
    std::atomic<bool> broken{false};
    std::vector<std::thread> senders;
    for (const auto& worker : workers_) {
      senders.emplace_back([&, w = worker.get()] {
        auto next = std::chrono::steady_clock::now();
        const auto end = next + std::chrono::duration<double>(seconds);
        while (std::chrono::steady_clock::now() < end && !broken) {
          if (!w->SendStep()) broken = true;
          next += std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(1.0 / rate));
          std::this_thread::sleep_until(next);
        }
      });
    }
    for (std::thread& sender : senders) sender.join();
    Interval interval;
    std::vector<double> latencies_ms;
    for (const auto& worker : workers_) {
      const std::vector<double> some = worker->TakeLatenciesMs();
      latencies_ms.insert(latencies_ms.end(), some.begin(), some.end());
      interval.behind += worker->unacknowledged();
    }
    interval.acknowledged = static_cast<std::int64_t>(latencies_ms.size());
    interval.p50_ms = Quantile(latencies_ms, 0.5);
    interval.p99_ms = Quantile(latencies_ms, 0.99);
    interval.holds = !broken && interval.p99_ms < kMaxP99Ms && static_cast<double>(interval.acknowledged) >= 0.95 * rate * seconds * static_cast<double>(Launched());
    return interval;
  }

 private:
  std::vector<std::unique_ptr<LoadWorker>> workers_;
};

// Whether memory stayed flat and every acknowledgement came in time.
bool Steady(const Flags& flags, Load* load, const Child& coordinator) {
  std::printf("%d runs x %d heads from %d workers, one sample a run and second\n\n", flags.runs, kLayers * kHeads, flags.workers);
  std::printf("| minute | samples/s | p50 ms | p99 ms | resident MiB | CPU cores |\n|---|---|---|---|---|---|\n");
  std::vector<double> resident_mib;
  double worst_ms = 0.0;
  double cpu_s = coordinator.CpuSeconds();
  bool holds = true;
  for (double minute = 0.0; minute < flags.minutes; minute += 1.0) {
    const double seconds = 60.0 * std::min(1.0, flags.minutes - minute);
    const Interval interval = load->Run(1.0, seconds);
    const double now_s = coordinator.CpuSeconds();
    resident_mib.push_back(coordinator.ResidentMib());
    worst_ms = std::max(worst_ms, interval.p99_ms);
    holds = holds && interval.holds;
    std::printf("| %.0f | %.0f | %.1f | %.1f | %.1f | %.2f |\n", minute + 1, static_cast<double>(interval.acknowledged) / seconds, interval.p50_ms, interval.p99_ms,
                resident_mib.back(), (now_s - cpu_s) / seconds);
    std::fflush(stdout);
    cpu_s = now_s;
  }
  const std::vector<double> half(resident_mib.begin() + static_cast<std::ptrdiff_t>(resident_mib.size() / 2), resident_mib.end());
  const auto [low, high] = std::minmax_element(half.begin(), half.end());
  const double spread = half.empty() ? 0.0 : (*high - *low) / *low;
  std::printf("\nmemory in the last half: %.1f to %.1f MiB (%.1f %%); worst p99 of a minute %.1f ms\n", *low, *high, 100.0 * spread, worst_ms);
  return holds && spread <= 0.05;
}

void Ramp(const Flags& flags, Load* load) {
  std::printf("\n| samples a run and second | samples/s | p50 ms | p99 ms | holds |\n|---|---|---|---|---|\n");
  double highest = 0.0;
  double rate = 2.0;
  for (double step = 2.0; rate < 2'000.0;) {
    const Interval interval = load->Run(rate, flags.ramp_seconds);
    std::printf("| %.0f | %.0f | %.1f | %.1f | %s |\n", rate, static_cast<double>(interval.acknowledged) / flags.ramp_seconds, interval.p50_ms, interval.p99_ms,
                interval.holds ? "yes" : "no");
    std::fflush(stdout);
    if (interval.holds) highest = static_cast<double>(interval.acknowledged) / flags.ramp_seconds;
    if (!interval.holds) {
      if (step < 1.5) break;
      // Back to what held, and on in smaller steps.
      rate /= step;
      step = 1.25;
      std::this_thread::sleep_for(std::chrono::seconds(5));
      load->Run(1.0, 5.0);
    }
    rate *= step;
  }
  std::printf("\nthe highest rate that held: %.0f samples a second\n", highest);
}

int Run(const Flags& flags) {
  std::filesystem::remove_all(flags.folder);
  std::filesystem::create_directories(StrCat(flags.folder, "/artifacts/datasets/", kHash));
  std::ofstream(StrCat(flags.folder, "/artifacts/datasets/", kHash, "/dataset.json")) << "{\"vocab_size\": 256}";
  bool holds = true;
  {
    Child coordinator = Child::Start(flags.program, {"--data-dir", flags.folder, "--artifacts", flags.folder + "/artifacts", "--listen", "127.0.0.1:0"},
                                     flags.folder + "/address");
    {
      Load load(flags, coordinator.address());
      holds = Steady(flags, &load, coordinator);
      if (flags.ramp_seconds > 0.0) Ramp(flags, &load);
    }
    coordinator.Kill(SIGKILL);
  }
  std::filesystem::remove_all(flags.folder);
  return holds ? 0 : 1;
}

}  // namespace
}  // namespace entrain::bench

int main(int argc, char** argv) {
  entrain::bench::Flags flags;
  flags.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "entrain-coordinator";
  CLI::App app("Measures the sample lane: memory, acknowledgement time, and the highest rate that holds.");
  app.add_option("--folder", flags.folder, "where the databases go; a real file system")->capture_default_str();
  app.add_option("--program", flags.program, "entrain-coordinator")->capture_default_str();
  app.add_option("--workers", flags.workers, "that send")->capture_default_str();
  app.add_option("--runs", flags.runs, "at once")->capture_default_str();
  app.add_option("--minutes", flags.minutes, "of one sample a run and second")->capture_default_str();
  app.add_option("--ramp-seconds", flags.ramp_seconds, "a rate; 0: no ramp")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return entrain::bench::Run(flags);
}
