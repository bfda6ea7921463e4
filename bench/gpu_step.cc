// Training steps of the trainer's own classes on a GPU, captured and replayed, timed by events and by the clock; one JSON line (bench/gpu).
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "worker/attempt/attempt_folder.h"
#include "worker/collective/collective.h"
#include "worker/trainer/device.h"
#include "worker/trainer/training_step.h"

namespace entrain {
namespace {

struct Options {
  std::int64_t context = 1024, batch = 8, layers = 12, heads = 12, width = 768, vocabulary = 50304, steps = 200;
  std::string entropy = "on", collective = "single", precision = "bf16";
  bool capture = true;
};

domain::RunConfig ConfigOf(const Options& options) {
  domain::RunConfig config;
  config.model.vocab_size = options.vocabulary;
  config.model.n_positions = options.context;
  config.model.n_layer = options.layers;
  config.model.n_head = options.heads;
  config.model.n_embd = options.width;
  config.model.reg = options.entropy == "on" ? domain::Regulariser::kMean : domain::Regulariser::kNone;
  config.train.batch_size = options.batch;
  config.train.context = options.context;
  config.train.steps = 1000000;
  config.train.schedule = domain::LrSchedule::kConstant;
  config.train.lr = 1e-4;
  config.train.precision = options.precision == "bf16" ? domain::Precision::kBf16 : domain::Precision::kFp32;
  return config;
}

// Steps with the same batch: what is measured is the step, not the reading of data.
class Steps {
 public:
  Steps(const Options& options, const std::string& device, collective::Collective* collective)
      : config_(ConfigOf(options)),
        step_(config_, torch::Device(device), collective, {.measure_entropy = options.entropy == "on", .capture = options.capture}) {
    const auto draw = [&] {
      return torch::randint(options.vocabulary, {options.batch / collective->world_size(), options.context},
                            torch::TensorOptions().dtype(torch::kInt64).device(device));
    };
    batch_ = {draw(), draw()};
  }

  void Run(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const auto outcome = step_.Run(done_++, [this](std::int64_t) { return batch_; }, trainer::StopWish::kNone, [] {});
      if (!outcome.ok()) throw std::runtime_error(std::string(outcome.status().message()));
      if (!outcome->applied) throw std::runtime_error("a step was not applied");
    }
  }

  // Milliseconds a step: between events, and of the clock.
  std::pair<double, double> Time(std::int64_t count) {
    at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    const auto wall = std::chrono::steady_clock::now();
    begin.record();
    Run(count);
    end.record();
    end.synchronize();
    const double wall_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - wall).count();
    return {static_cast<double>(begin.elapsed_time(end)) / static_cast<double>(count), wall_ms / static_cast<double>(count)};
  }

  bool is_captured() const { return step_.is_captured(); }
  double loss() const { return step_.summary().loss(); }

 private:
  domain::RunConfig config_;
  trainer::TrainingStep step_;
  trainer::Batch batch_;
  std::int64_t done_ = 0;
};

int LocalRank() {
  const char* rank = std::getenv("OMPI_COMM_WORLD_LOCAL_RANK");
  return rank == nullptr ? 0 : std::atoi(rank);
}

void Measure(const Options& options) {
  attempt::AttemptSpec spec;
  spec.device = "cuda";
  spec.collective = options.collective;
  spec.ranks_per_machine = torch::cuda::device_count() > 0 ? static_cast<int>(torch::cuda::device_count()) : 1;
  const auto device = trainer::SelectDevice(spec, LocalRank());
  if (!device.ok()) throw std::runtime_error(std::string(device.status().message()));
  trainer::FixNumerics(1);
  auto collective = collective::MakeCollective(options.collective);
  if (!collective.ok()) throw std::runtime_error(std::string(collective.status().message()));
  Steps steps(options, *device, collective->get());
  steps.Run(10);
  std::vector<std::pair<double, double>> rounds;
  for (int round = 0; round < 5; ++round) rounds.push_back(steps.Time(std::max<std::int64_t>(1, options.steps / 5)));
  std::sort(rounds.begin(), rounds.end());
  const auto peak = c10::cuda::CUDACachingAllocator::getDeviceStats(static_cast<c10::DeviceIndex>(torch::Device(*device).index()));
  if ((*collective)->rank() == 0) {
    std::printf("{\"ms\": %.5f, \"fastest_ms\": %.5f, \"slowest_ms\": %.5f, \"wall_ms\": %.5f, \"captured\": %s, \"loss\": %.5f, "
                "\"peak_mib\": %.1f, \"device\": \"%s\"}\n",
                rounds[2].first, rounds[0].first, rounds[4].first, rounds[2].second, steps.is_captured() ? "true" : "false",
                steps.loss(), static_cast<double>(peak.allocated_bytes[0].peak) / (1 << 20), trainer::HardwareModel(*device).c_str());
  }
}

}  // namespace
}  // namespace entrain

int main(int argc, char** argv) {
  entrain::Options options;
  bool no_graph = false;
  CLI::App app("Times training steps on GPUs for bench/gpu.", "bench_gpu_step");
  app.add_option("--context", options.context);
  app.add_option("--batch", options.batch, "Sequences a step, over all ranks");
  app.add_option("--layers", options.layers);
  app.add_option("--heads", options.heads);
  app.add_option("--width", options.width);
  app.add_option("--vocabulary", options.vocabulary);
  app.add_option("--steps", options.steps, "Steps that are timed, in five rounds");
  app.add_option("--entropy", options.entropy, "Measure and regularise it")->check(CLI::IsMember({"on", "off"}));
  app.add_option("--collective", options.collective)->check(CLI::IsMember({"single", "nccl"}));
  app.add_option("--precision", options.precision)->check(CLI::IsMember({"bf16", "fp32"}));
  app.add_flag("--no-graph", no_graph, "Launch every kernel");
  CLI11_PARSE(app, argc, argv);
  options.capture = !no_graph;
  if (!torch::cuda::is_available()) {
    std::fprintf(stderr, "bench_gpu_step: no CUDA device: not measured\n");
    return 69;
  }
  try {
    entrain::Measure(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "bench_gpu_step: %s\n", e.what());
    return 1;
  }
  return 0;
}
