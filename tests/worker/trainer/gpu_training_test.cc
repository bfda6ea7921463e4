// The same run on a GPU and on the CPU: same start, same batches, numbers that differ by rounding alone.
#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <vector>

#include "base/files.h"
#include "base/random.h"
#include "gtest/gtest.h"
#include "tests/worker/trainer/trainer_runs.h"

namespace entrain::trainer {
namespace {

using domain::EndCause;

// A training step amplifies rounding: the first is compared closely, later ones by what a wrong term would exceed.
constexpr double kFirstStepTolerance = 2e-5;
constexpr double kLaterTolerance = 2e-3;

class GpuTrainingTest : public testing::Test {
 protected:
  GpuTrainingTest() : root_(testing::TempDir() + "gpu-training-" + SystemIdSource().Next(10)) { (void)MakeFolders(root_); }
  ~GpuTrainingTest() override { std::filesystem::remove_all(root_); }
  void SetUp() override {
    if (!torch::cuda::is_available()) GTEST_SKIP() << "no GPU: torch::cuda::is_available() is false";
  }

  std::string root_;
};

void UseGpus(Gang* gang, std::int32_t count) {
  gang->spec().device = "cuda";
  for (std::int32_t gpu = 0; gpu < count; ++gpu) gang->spec().slots.push_back(gpu);
  if (count > 1) gang->spec().collective = "nccl";
}

void Finish(Gang* gang) {
  gang->Start();
  ASSERT_EQ(gang->process().Wait(), 0) << gang->process().Log();
  ASSERT_EQ(gang->Record(0).cause, EndCause::kCompleted);
}

std::vector<domain::EntropySample> Samples(const Gang& gang) {
  std::vector<domain::EntropySample> samples;
  for (const auto& event : gang.Events()) {
    if (const auto* sample = std::get_if<domain::EntropySample>(&event)) samples.push_back(*sample);
  }
  return samples;
}

void ExpectClose(double a, double b, double tolerance, const char* what) {
  EXPECT_NEAR(a, b, tolerance * std::max(1.0, std::abs(b))) << what;
}

void ExpectClose(const std::vector<float>& a, const std::vector<float>& b, double tolerance, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i) ExpectClose(a[i], b[i], tolerance, what);
}

void ExpectCloseRuns(const Gang& gpu, const Gang& cpu) {
  const auto on_gpu = Samples(gpu), on_cpu = Samples(cpu);
  ASSERT_EQ(on_gpu.size(), on_cpu.size());
  for (std::size_t i = 0; i < on_gpu.size(); ++i) {
    SCOPED_TRACE(testing::Message() << "step " << on_cpu[i].step);
    const double tolerance = i == 0 ? kFirstStepTolerance : kLaterTolerance;
    ExpectClose(on_gpu[i].loss, on_cpu[i].loss, tolerance, "loss");
    ExpectClose(on_gpu[i].reg, on_cpu[i].reg, tolerance, "regulariser");
    ExpectClose(on_gpu[i].grad_norm, on_cpu[i].grad_norm, tolerance, "gradient norm");
    ExpectClose(on_gpu[i].entropy_nats, on_cpu[i].entropy_nats, tolerance, "entropy");
    ExpectClose(on_gpu[i].max_abs_score, on_cpu[i].max_abs_score, tolerance, "largest score");
    ExpectClose(on_gpu[i].theta, on_cpu[i].theta, tolerance, "threshold");
  }
}

TEST_F(GpuTrainingTest, AFewStepsAgreeWithTheCpu) {
  const domain::RunConfig config = SmallConfig(6, 1);
  Gang cpu(root_ + "/cpu", config, ""), gpu(root_ + "/gpu", config, "");
  UseGpus(&gpu, 1);
  ASSERT_NO_FATAL_FAILURE(Finish(&cpu));
  ASSERT_NO_FATAL_FAILURE(Finish(&gpu));
  ExpectCloseRuns(gpu, cpu);
}

TEST_F(GpuTrainingTest, AGpuRepeatsItselfAlsoAfterACheckpoint) {
  const domain::RunConfig config = SmallConfig(10, 1);  // a checkpoint at step 7
  Gang whole(root_ + "/whole", config, "");
  UseGpus(&whole, 1);
  ASSERT_NO_FATAL_FAILURE(Finish(&whole));
  Gang resumed(root_ + "/resumed", config, whole.folder().Path("checkpoints/step-00000007"));
  UseGpus(&resumed, 1);
  ASSERT_NO_FATAL_FAILURE(Finish(&resumed));
  const auto expected = Samples(whole), got = Samples(resumed);
  ASSERT_EQ(got.size(), 3u);
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].loss, expected[7 + i].loss) << "step " << got[i].step;
    EXPECT_EQ(got[i].entropy_nats, expected[7 + i].entropy_nats) << "step " << got[i].step;
  }
}

TEST_F(GpuTrainingTest, TheCpuGoesOnFromAGpusCheckpoint) {
  const domain::RunConfig config = SmallConfig(10, 1);
  Gang gpu(root_ + "/gpu", config, "");
  UseGpus(&gpu, 1);
  ASSERT_NO_FATAL_FAILURE(Finish(&gpu));
  const std::string checkpoint = gpu.folder().Path("checkpoints/step-00000007");
  Gang refused(root_ + "/refused", config, checkpoint);
  refused.Start();
  EXPECT_EQ(refused.process().Wait(), 78);
  Gang cpu(root_ + "/cpu", config, checkpoint);
  cpu.spec().allow_inexact_resume = true;
  ASSERT_NO_FATAL_FAILURE(Finish(&cpu));
  ExpectClose(Samples(cpu).front().loss, Samples(gpu)[7].loss, kFirstStepTolerance, "loss of step 8");
}

TEST_F(GpuTrainingTest, TwoGpusAgreeWithTwoCpuRanks) {
  if (torch::cuda::device_count() < 2) GTEST_SKIP() << "one GPU";
  const domain::RunConfig config = SmallConfig(6, 2);
  Gang cpu(root_ + "/cpu", config, ""), gpu(root_ + "/gpu", config, "");
  UseGpus(&gpu, 2);
  ASSERT_NO_FATAL_FAILURE(Finish(&cpu));
  ASSERT_NO_FATAL_FAILURE(Finish(&gpu));
  ExpectCloseRuns(gpu, cpu);
}

}  // namespace
}  // namespace entrain::trainer
