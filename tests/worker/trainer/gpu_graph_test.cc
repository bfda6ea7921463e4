// Steps replayed from a CUDA graph have the bits of steps whose kernels are launched one by one.
#include <torch/torch.h>

#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "worker/collective/collective.h"
#include "worker/trainer/training_step.h"

namespace entrain::trainer {
namespace {

constexpr std::int64_t kSteps = 12;

domain::RunConfig ConfigOf(domain::Precision precision, domain::Regulariser reg, std::int64_t accumulation) {
  domain::RunConfig config;
  config.model.vocab_size = 500;
  config.model.n_positions = 96;
  config.model.n_layer = 3;
  config.model.n_head = 4;
  config.model.n_embd = 128;
  config.model.reg = reg;
  config.train.batch_size = 4;
  config.train.context = 96;
  config.train.accumulation = accumulation;
  config.train.steps = 100;
  config.train.precision = precision;
  return config;
}

// The batch of a step and micro-batch: its own, so that a replay that kept an old one would show.
Batch BatchOf(std::int64_t step, std::int64_t micro) {
  torch::manual_seed(static_cast<std::uint64_t>(100 * step + micro));
  const auto draw = [] { return torch::randint(500, {4, 96}, torch::kInt64).to(torch::kCUDA); };
  const torch::Tensor tokens_BT = draw();
  return {tokens_BT, draw()};
}

struct Trace {
  std::vector<double> losses, norms;
  std::vector<std::vector<float>> entropies;
  torch::Tensor parameters;
  bool captured = false;
};

Trace TrainSteps(const domain::RunConfig& config, bool capture) {
  auto collective = collective::MakeCollective("single");
  TrainingStep training(config, torch::Device("cuda:0"), collective->get(), {.capture = capture});
  Trace trace;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const auto outcome = training.Run(step, [&](std::int64_t micro) { return BatchOf(step, micro); }, StopWish::kNone, [] {});
    EXPECT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_TRUE(outcome->applied);
    trace.losses.push_back(training.summary().loss());
    trace.norms.push_back(outcome->grad_norm);
    trace.entropies.push_back(training.summary().entropy_nats());
  }
  trace.parameters = training.optimizer().flat_parameters().cpu();
  trace.captured = training.is_captured();
  return trace;
}

class GpuGraphTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU: torch::cuda::is_available() is false";
    FixNumerics(1);
  }
};

TEST_F(GpuGraphTest, ReplayedStepsHaveTheBitsOfLaunchedOnes) {
  for (const domain::Precision precision : {domain::Precision::kFp32, domain::Precision::kBf16, domain::Precision::kFp16}) {
    for (const domain::Regulariser reg : {domain::Regulariser::kNone, domain::Regulariser::kMean, domain::Regulariser::kMeanSeq}) {
      for (const std::int64_t accumulation : {1, 3}) {
        const domain::RunConfig config = ConfigOf(precision, reg, accumulation);
        const Trace launched = TrainSteps(config, false), replayed = TrainSteps(config, true);
        EXPECT_FALSE(launched.captured);
        EXPECT_TRUE(replayed.captured);
        EXPECT_EQ(replayed.losses, launched.losses);
        EXPECT_EQ(replayed.norms, launched.norms);
        EXPECT_EQ(replayed.entropies, launched.entropies);
        EXPECT_TRUE(replayed.parameters.equal(launched.parameters));
      }
    }
  }
}

// The forms that hold T x T weights go through autograd; they are captured all the same, or run directly.
TEST_F(GpuGraphTest, TheSummedRegulariserGivesTheSameEitherWay) {
  const domain::RunConfig config = ConfigOf(domain::Precision::kFp32, domain::Regulariser::kAuthors, 1);
  const Trace launched = TrainSteps(config, false), replayed = TrainSteps(config, true);
  EXPECT_EQ(replayed.losses, launched.losses);
  EXPECT_TRUE(replayed.parameters.equal(launched.parameters));
}

// Tags the stop wish with the step, which must arrive although the reduction is replayed.
TEST_F(GpuGraphTest, TheWishToStopReachesAReplayedStep) {
  const domain::RunConfig config = ConfigOf(domain::Precision::kBf16, domain::Regulariser::kNone, 1);
  auto collective = collective::MakeCollective("single");
  TrainingStep training(config, torch::Device("cuda:0"), collective->get());
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const StopWish wish = step == kSteps - 1 ? StopWish::kCheckpoint : StopWish::kNone;
    ASSERT_TRUE(training.Run(step, [&](std::int64_t micro) { return BatchOf(step, micro); }, wish, [] {}).ok());
    EXPECT_EQ(training.summary().stop_wish(), wish);
  }
  EXPECT_TRUE(training.is_captured());
}

}  // namespace
}  // namespace entrain::trainer
