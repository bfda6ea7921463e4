// Training steps of the trainer's own classes, served on command (bench/servers.py): `step N`, `profile N`.
#include <sys/resource.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "bench/operator_times.h"
#include "worker/collective/collective.h"
#include "worker/trainer/device.h"
#include "worker/trainer/training_step.h"

namespace entrain {
namespace {

struct Shape {
  std::int64_t context = 128, batch = 16, layers = 6, heads = 6, width = 192, vocabulary = 4096, threads = 0;
  bool entropy = true;
  std::string device = "cpu", precision = "fp32";
};

domain::RunConfig ConfigOf(const Shape& shape) {
  domain::RunConfig config;
  config.model.vocab_size = shape.vocabulary;
  config.model.n_positions = shape.context;
  config.model.n_layer = shape.layers;
  config.model.n_head = shape.heads;
  config.model.n_embd = shape.width;
  // The form that ours computes without a T x T matrix; the baselines compute the authors' sum.
  config.model.reg = shape.entropy ? domain::Regulariser::kMean : domain::Regulariser::kNone;
  config.train.batch_size = shape.batch;
  config.train.context = shape.context;
  config.train.steps = 1000000;
  config.train.schedule = domain::LrSchedule::kConstant;
  config.train.precision = shape.precision == "bf16" ? domain::Precision::kBf16 : domain::Precision::kFp32;
  return config;
}

trainer::Batch RandomBatch(const Shape& shape) {
  torch::manual_seed(2);
  const auto draw = [&] { return torch::randint(shape.vocabulary, {shape.batch, shape.context}, torch::kInt64).to(shape.device); };
  const torch::Tensor tokens_BT = draw();
  return {tokens_BT, draw()};
}

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Server {
 public:
  Server(const Shape& shape, collective::Collective* collective)
      : config_(ConfigOf(shape)),
        batch_(RandomBatch(shape)),
        step_(config_, torch::Device(shape.device), collective, {.measure_entropy = shape.entropy}) {}

  double Steps(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const auto outcome = step_.Run(done_++, [this](std::int64_t) { return batch_; }, trainer::StopWish::kNone, [] {});
      if (!outcome.ok() || !outcome->applied) throw std::runtime_error("a step was not applied");
      entropy_nats_ = step_.summary().entropy_nats();
    }
    return step_.summary().loss();
  }

  void AnswerSteps(std::int64_t count) {
    const double cpu = CpuSeconds();
    const auto wall = std::chrono::steady_clock::now();
    rusage before{}, after{};
    getrusage(RUSAGE_SELF, &before);
    const double loss = Steps(count);
    getrusage(RUSAGE_SELF, &after);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count();
    std::printf("{\"cpu\": %.6f, \"wall\": %.6f, \"loss\": %.6f, \"peak_kib\": %ld, \"minor_faults\": %ld}\n", CpuSeconds() - cpu,
                seconds, loss, after.ru_maxrss, after.ru_minflt - before.ru_minflt);
    std::fflush(stdout);
  }

  void AnswerProfile(std::int64_t count) {
    const std::vector<bench::OperatorShare> shares = bench::TimeOperators([&] { Steps(count); }, count);
    std::string line = "[";
    for (const bench::OperatorShare& share : shares) {
      std::ostringstream row;
      row << (line.size() > 1 ? ", " : "") << "[\"" << share.name << "\", " << share.share << ", " << share.calls_a_step << "]";
      line += row.str();
    }
    std::printf("%s]\n", line.c_str());
    std::fflush(stdout);
  }

 private:
  domain::RunConfig config_;
  trainer::Batch batch_;
  trainer::TrainingStep step_;
  std::int64_t done_ = 0;
  std::vector<float> entropy_nats_;
};

void Serve(const Shape& shape) {
  const std::int64_t cores = static_cast<std::int64_t>(std::thread::hardware_concurrency());
  trainer::FixNumerics(shape.threads > 0 ? shape.threads : cores);
  auto collective = collective::MakeCollective("single");
  if (!collective.ok()) throw std::runtime_error(std::string(collective.status().message()));
  Server server(shape, collective->get());
  std::printf("{\"ready\": true, \"threads\": %d}\n", torch::get_num_threads());
  std::fflush(stdout);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string command;
    std::int64_t count = 1;
    words >> command >> count;
    command == "profile" ? server.AnswerProfile(count) : server.AnswerSteps(count);
  }
}

}  // namespace
}  // namespace entrain

int main(int argc, char** argv) {
  entrain::trainer::AskForHugePages();
  entrain::Shape shape;
  std::string entropy = "on";
  CLI::App app("Serves training steps to bench/step.", "bench_step_server");
  app.add_option("--context", shape.context);
  app.add_option("--batch", shape.batch);
  app.add_option("--layers", shape.layers);
  app.add_option("--heads", shape.heads);
  app.add_option("--width", shape.width);
  app.add_option("--vocabulary", shape.vocabulary);
  app.add_option("--threads", shape.threads, "0: all cores");
  app.add_option("--device", shape.device);
  app.add_option("--precision", shape.precision)->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--entropy", entropy, "Measure and regularise it")->check(CLI::IsMember({"on", "off"}));
  CLI11_PARSE(app, argc, argv);
  shape.entropy = entropy == "on";
  entrain::Serve(shape);
  return 0;
}
