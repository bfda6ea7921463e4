#include "worker/trainer/gradient_buckets.h"

#include <torch/torch.h>

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace entrain::trainer {
namespace {

// Notes every reduction and pretends that another rank holds the same gradients.
class DoublingCollective : public collective::Collective {
 public:
  struct Call {
    float* buffer;
    std::int64_t count;
  };
  class DoublingWork : public collective::Work {
   public:
    explicit DoublingWork(Call call) : call_(call) {}
    absl::Status Wait() override {
      for (std::int64_t i = 0; i < call_.count; ++i) call_.buffer[i] *= 2.0f;
      return absl::OkStatus();
    }

   private:
    Call call_;
  };
  int rank() const override { return 0; }
  int world_size() const override { return 2; }
  std::unique_ptr<collective::Work> AllReduceSum(float* buffer, std::int64_t count) override {
    calls.push_back({buffer, count});
    return std::make_unique<DoublingWork>(calls.back());
  }
  absl::Status AllReduceMax(float*, std::int64_t) override { return absl::OkStatus(); }
  absl::Status Broadcast(void*, std::int64_t, int) override { return absl::OkStatus(); }
  absl::Status Barrier() override { return absl::OkStatus(); }
  void Abort(int) override {}

  std::vector<Call> calls;
};

// Three layers of 512 x 512 (1 MiB each) and a parameter that no loss reaches.
struct Chain {
  Chain() {
    torch::manual_seed(1);
    for (int i = 0; i < 3; ++i) {
      parameters.emplace_back("layer" + std::to_string(i) + ".weight", torch::randn({512, 512}).set_requires_grad(true));
    }
    parameters.emplace_back("unused.bias", torch::ones({7}).set_requires_grad(true));
  }
  torch::Tensor Loss() const {
    torch::Tensor x = torch::ones({1, 512}) / 512;
    for (int i = 0; i < 3; ++i) x = x.mm(parameters[static_cast<std::size_t>(i)].second);
    return x.sum();
  }
  AdamW::NamedTensors parameters;
};

TEST(GradientBucketsTest, EveryElementIsReducedOnceInOrderAndPartlyBeforeBackwardEnds) {
  Chain chain;
  AdamW optimizer(chain.parameters, {});
  DoublingCollective collective;
  GradientBuckets buckets(optimizer, chain.parameters, &collective);
  EXPECT_EQ(buckets.bucket_count(), 2);  // the first is small
  buckets.Arm();
  chain.Loss().backward();
  EXPECT_EQ(buckets.early_launches(), 1);  // the unused parameter's bucket waits for the end
  const torch::Tensor before = optimizer.flat_gradient().clone();
  ASSERT_TRUE(buckets.Finish().ok());
  ASSERT_EQ(static_cast<std::int64_t>(collective.calls.size()), buckets.bucket_count());
  const float* next = optimizer.flat_gradient().data_ptr<float>();
  for (const auto& call : collective.calls) {
    EXPECT_EQ(call.buffer, next);
    next += call.count;
  }
  EXPECT_EQ(next, optimizer.flat_gradient().data_ptr<float>() + optimizer.flat_gradient().numel());
  EXPECT_TRUE(torch::equal(optimizer.flat_gradient(), before * 2));
  EXPECT_GT(before.abs().max().item<float>(), 0.0f);
}

TEST(GradientBucketsTest, EarlierMicroBatchesOnlyAccumulate) {
  Chain chain;
  AdamW optimizer(chain.parameters, {});
  DoublingCollective collective;
  GradientBuckets buckets(optimizer, chain.parameters, &collective);
  chain.Loss().backward();
  EXPECT_TRUE(collective.calls.empty());
  const torch::Tensor one = optimizer.flat_gradient().clone();
  buckets.Arm();
  chain.Loss().backward();
  ASSERT_TRUE(buckets.Finish().ok());
  EXPECT_TRUE(torch::allclose(optimizer.flat_gradient(), one * 4));
}

}  // namespace
}  // namespace entrain::trainer
