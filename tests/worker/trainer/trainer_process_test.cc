#include <signal.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "base/files.h"
#include "base/random.h"
#include "data/folder_manifest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "sweep/run_config_json.h"
#include "tests/worker/trainer/trainer_runs.h"
#include "worker/attempt/control_socket.h"

namespace entrain::trainer {
namespace {

using domain::EndCause;
using testing::HasSubstr;

class TrainerTest : public testing::Test {
 protected:
  TrainerTest() : root_(testing::TempDir() + "trainer-" + SystemIdSource().Next(10)) { (void)MakeFolders(root_); }
  ~TrainerTest() override { std::filesystem::remove_all(root_); }
  std::string Folder(const std::string& name) const { return root_ + "/" + name; }

  std::string root_;
};

// Everything that a run leaves behind, by step; the labels of time and speed left out.
struct Trace {
  std::map<std::int64_t, domain::EntropySample> samples;
  std::map<std::int64_t, double> evaluations;

  void Add(const Gang& gang) {
    for (const auto& event : gang.Events()) {
      if (const auto* sample = std::get_if<domain::EntropySample>(&event)) {
        domain::EntropySample bare = *sample;
        bare.tokens_per_second = 0.0;
        bare.wall_ms = 0;
        samples[bare.step] = bare;
      } else if (const auto* evaluation = std::get_if<domain::Evaluation>(&event)) {
        evaluations[evaluation->step] = evaluation->loss;
      }
    }
  }
  friend bool operator==(const Trace&, const Trace&) = default;
};

std::string FileOf(const std::string& checkpoint, const std::string& name) {
  const absl::StatusOr<std::string> bytes = ReadFile(checkpoint + "/" + name);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return bytes.ok() ? *bytes : "";
}

void ExpectSameCheckpoint(const std::string& a, const std::string& b) {
  for (const char* name : {"model.safetensors", "optimizer.safetensors", "state.json", "config.json", "manifest.json"}) {
    EXPECT_TRUE(FileOf(a, name) == FileOf(b, name)) << name << " of " << a << " and " << b;
  }
}

struct ResumeCase {
  int ranks;
  domain::Precision precision;
};

std::string NameOfCase(const testing::TestParamInfo<ResumeCase>& test) {
  static constexpr const char* kNames[] = {"Fp32", "Bf16", "Fp16"};
  return kNames[static_cast<int>(test.param.precision)] + std::to_string(test.param.ranks);
}

class ResumeTest : public TrainerTest, public testing::WithParamInterface<ResumeCase> {};

// The gang is killed with SIGKILL at one step after the other, and once asked to stop; each time the next attempt goes on from the
// newest checkpoint. What comes out is what an uninterrupted run leaves, byte for byte.
TEST_P(ResumeTest, KilledAnywhereAndResumedIsBitIdentical) {
  domain::RunConfig config = SmallConfig(160, GetParam().ranks);
  config.train.precision = GetParam().precision;
  Gang whole(Folder("whole"), config, "");
  whole.Start();
  ASSERT_EQ(whole.process().Wait(), 0) << whole.process().Log();
  Trace expected;
  expected.Add(whole);
  ASSERT_EQ(expected.samples.size(), 160u);
  ASSERT_LT(expected.samples[160].loss, expected.samples[1].loss - 0.5);

  Trace actual;
  std::string resume;
  int attempt = 0;
  for (const std::int64_t kill_at : {9, 40, 70}) {
    Gang part(Folder("part-" + std::to_string(++attempt)), config, resume);
    part.Start();
    ASSERT_TRUE(WaitUntil([&] { return part.LastStep() >= kill_at || part.process().Ended(); })) << part.process().Log();
    part.process().Signal(kill_at == 40 ? SIGTERM : SIGKILL);
    ASSERT_NE(part.process().Wait(), -1);
    actual.Add(part);
    if (!part.NewestCheckpoint().empty()) resume = part.NewestCheckpoint();
  }
  Gang last(Folder("last"), config, resume);
  last.Start();
  ASSERT_EQ(last.process().Wait(), 0) << last.process().Log();
  actual.Add(last);
  EXPECT_TRUE(actual == expected);
  EXPECT_EQ(last.Record(0).cause, EndCause::kCompleted);
  // Empty if the gang outran every kill: then nothing was resumed.
  ASSERT_THAT(last.NewestCheckpoint(), HasSubstr("step-00000160"));
  ExpectSameCheckpoint(whole.NewestCheckpoint(), last.NewestCheckpoint());
}
INSTANTIATE_TEST_SUITE_P(Worlds, ResumeTest,
                         testing::Values(ResumeCase{1, domain::Precision::kFp32}, ResumeCase{2, domain::Precision::kFp32},
                                         ResumeCase{1, domain::Precision::kBf16}, ResumeCase{2, domain::Precision::kFp16}),
                         NameOfCase);

// The same steps in three precisions: the start differs by rounding alone, and every head's entropy is there.
TEST_F(TrainerTest, ReducedPrecisionsTrainAlike) {
  std::map<domain::Precision, Trace> traces;
  for (const auto precision : {domain::Precision::kFp32, domain::Precision::kBf16, domain::Precision::kFp16}) {
    domain::RunConfig config = SmallConfig(40, 1);
    config.train.precision = precision;
    Gang gang(Folder(std::to_string(static_cast<int>(precision))), config, "");
    gang.Start();
    ASSERT_EQ(gang.process().Wait(), 0) << gang.process().Log();
    traces[precision].Add(gang);
  }
  Trace& exact = traces[domain::Precision::kFp32];
  for (const auto& [precision, share] : {std::pair(domain::Precision::kBf16, 8e-3), std::pair(domain::Precision::kFp16, 1e-3)}) {
    Trace& trace = traces[precision];
    ASSERT_EQ(trace.samples.size(), 40u);
    EXPECT_NE(trace.samples[1].loss, exact.samples[1].loss) << "it did not compute in the precision that was asked for";
    EXPECT_NEAR(trace.samples[1].loss, exact.samples[1].loss, share * exact.samples[1].loss);
    EXPECT_NEAR(trace.samples[1].grad_norm, exact.samples[1].grad_norm, 5 * share * exact.samples[1].grad_norm);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(trace.samples[1].entropy_nats[i], exact.samples[1].entropy_nats[i], share);
    EXPECT_NEAR(trace.evaluations[40], exact.evaluations[40], 0.1);
    EXPECT_LT(trace.samples[40].loss, trace.samples[1].loss - 0.5);
  }
}

// A scale at which float16 gradients overflow: the step is computed again with half of it until it fits, no step is lost and no sample
// shows the overflow.
TEST_F(TrainerTest, AnOverflowOfScaledGradientsRepeatsTheStep) {
  domain::RunConfig config = SmallConfig(14, 1);
  config.train.precision = domain::Precision::kFp16;
  Gang first(Folder("first"), config, "");
  first.Start();
  ASSERT_EQ(first.process().Wait(), 0) << first.process().Log();
  const std::string checkpoint = first.folder().Path("checkpoints/step-00000007");
  auto state = nlohmann::json::parse(FileOf(checkpoint, "state.json"));
  EXPECT_EQ(state["loss_scale_steps"], 7);
  state["loss_scale"] = 16777216.0;
  ASSERT_TRUE(WriteFileAtomically(checkpoint + "/state.json", state.dump()).ok());
  ASSERT_TRUE(data::WriteManifest(checkpoint).ok());
  Gang second(Folder("second"), config, checkpoint);
  second.Start();
  ASSERT_EQ(second.process().Wait(), 0) << second.process().Log();
  EXPECT_THAT(second.process().Log(), HasSubstr("overflowed"));
  Trace trace;
  trace.Add(second);
  ASSERT_EQ(trace.samples.size(), 7u);
  for (const auto& [step, sample] : trace.samples) EXPECT_TRUE(std::isfinite(sample.grad_norm) && sample.grad_norm > 0.0) << step;
  const auto end = nlohmann::json::parse(FileOf(second.folder().Path("checkpoints/step-00000014"), "state.json"));
  EXPECT_LT(end["loss_scale"].get<double>(), 16777216.0);
  EXPECT_EQ(end["step"], 14);
}

// Every improvement at an evaluation is written, though checkpoints by interval are off.
TEST_F(TrainerTest, TheBestCheckpointIsKeptBesideTheLast) {
  domain::RunConfig config = SmallConfig(60, 1);
  config.train.schedule = domain::LrSchedule::kConstant;
  config.train.checkpoint_interval_steps = 0;
  const std::string path = Folder("run.json");
  ASSERT_TRUE(WriteFileAtomically(path, sweep::ToCanonicalJson(config)).ok());
  Process alone({std::string(ENTRAIN_BIN_DIR) + "/entrain-trainer", path, "--dataset", SharedDataset().dir, "--out", Folder("out"),
                 "--keep-checkpoints", "1"},
                Folder("log"));
  ASSERT_EQ(alone.Wait(), 0) << alone.Log();
  const std::string checkpoints = Folder("out/attempt-0001/checkpoints/");
  const auto last = nlohmann::json::parse(FileOf(checkpoints + "step-00000060", "state.json"));
  char best[32];
  std::snprintf(best, sizeof(best), "step-%08lld", static_cast<long long>(last["best_eval_step"].get<std::int64_t>()));
  EXPECT_TRUE(std::filesystem::exists(checkpoints + best)) << best;
  EXPECT_LE(std::distance(std::filesystem::directory_iterator(checkpoints), {}), 2);
}


TEST_F(TrainerTest, TwoRanksTrainAsOne) {
  Trace one, two;
  for (auto [trace, ranks] : {std::pair(&one, 1), std::pair(&two, 2)}) {
    Gang gang(Folder(std::to_string(ranks)), SmallConfig(10, ranks), "");
    gang.Start();
    ASSERT_EQ(gang.process().Wait(), 0) << gang.process().Log();
    trace->Add(gang);
  }
  for (std::int64_t step = 1; step <= 10; ++step) {
    const auto& a = one.samples[step];
    const auto& b = two.samples[step];
    EXPECT_NEAR(a.loss, b.loss, 1e-4) << step;
    EXPECT_NEAR(a.reg, b.reg, 1e-4) << step;
    EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-3 * a.grad_norm) << step;
    ASSERT_EQ(a.entropy_nats.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(a.entropy_nats[i], b.entropy_nats[i], 1e-4);
    ASSERT_EQ(a.theta.size(), 4u);
  }
  EXPECT_NEAR(one.evaluations[10], two.evaluations[10], 1e-4);
}

TEST_F(TrainerTest, StopsWithACheckpointWhenToldOverItsSocket) {
  Gang gang(Folder("stop"), SmallConfig(100'000, 2), "");
  gang.spec().control_socket = "/tmp/entrain-trainer-test-" + SystemIdSource().Next(10);
  gang.Start();
  ASSERT_TRUE(WaitUntil([&] { return gang.LastStep() >= 2; })) << gang.process().Log();
  ASSERT_TRUE(attempt::SendCommand(gang.spec().control_socket, {domain::StopMode::kCheckpoint, "test"}).ok());
  EXPECT_EQ(gang.process().Wait(), 0) << gang.process().Log();
  for (const std::int64_t rank : {0, 1}) {
    EXPECT_EQ(gang.Record(rank).cause, EndCause::kStopped);
    EXPECT_EQ(gang.Record(rank).step, gang.LastStep());
  }
  char name[32];
  std::snprintf(name, sizeof(name), "step-%08lld", static_cast<long long>(gang.LastStep()));
  EXPECT_THAT(gang.NewestCheckpoint(), HasSubstr(name));
}

TEST_F(TrainerTest, NoRankOutlivesItsLauncher) {
  Gang gang(Folder("orphan"), SmallConfig(100'000, 2), "");
  gang.Start();
  ASSERT_TRUE(WaitUntil([&] { return gang.LastStep() >= 1; })) << gang.process().Log();
  gang.process().Signal(SIGKILL);
  ASSERT_EQ(gang.process().Wait(), 128 + SIGKILL);
  // A rank that lives touches its heartbeat and rank 0 appends; no process has the folder on its command line any more.
  EXPECT_TRUE(WaitUntil([&] {
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      const absl::StatusOr<std::string> line = ReadFile(entry.path().string() + "/cmdline");
      if (line.ok() && line->find("--attempt") != std::string::npos && line->find(gang.folder().root()) != std::string::npos) {
        return false;
      }
    }
    return true;
  }));
}

class NonFiniteTest : public TrainerTest, public testing::WithParamInterface<int> {};

TEST_P(NonFiniteTest, EndsEveryRankWithTheSampleThatShowsIt) {
  domain::RunConfig config = SmallConfig(50, GetParam());
  config.model.layer.reparam = domain::Reparam::kNone;
  config.model.layer.reparam_targets = {};
  config.train.lr = 1e20;
  Gang gang(Folder("nan"), config, "");
  gang.Start();
  EXPECT_EQ(gang.process().Wait(), 70) << gang.process().Log();
  domain::EntropySample last;
  for (const auto& event : gang.Events()) {
    if (const auto* sample = std::get_if<domain::EntropySample>(&event)) last = *sample;
  }
  EXPECT_FALSE(std::isfinite(last.loss) && std::isfinite(last.grad_norm) && std::isfinite(last.reg));
  EXPECT_LT(last.step, 50);
  for (std::int64_t rank = 0; rank < GetParam(); ++rank) {
    EXPECT_EQ(gang.Record(rank).cause, EndCause::kNonFinite);
    EXPECT_EQ(gang.Record(rank).step, last.step);
  }
}
INSTANTIATE_TEST_SUITE_P(Worlds, NonFiniteTest, testing::Values(1, 2));

TEST_F(TrainerTest, ADamagedCheckpointIsRefusedByFileAndPlace) {
  const domain::RunConfig config = SmallConfig(7, 1);
  Gang first(Folder("first"), config, "");
  first.Start();
  ASSERT_EQ(first.process().Wait(), 0) << first.process().Log();
  const std::string checkpoint = first.NewestCheckpoint();
  std::filesystem::resize_file(checkpoint + "/model.safetensors", 1000);
  Gang second(Folder("second"), config, checkpoint);
  second.Start();
  EXPECT_EQ(second.process().Wait(), 75) << second.process().Log();
  EXPECT_EQ(second.Record(0).cause, EndCause::kStorage);
  EXPECT_THAT(second.Record(0).message, HasSubstr(checkpoint + "/model.safetensors is truncated: it has 1000 of"));
}

TEST_F(TrainerTest, ResumingElsewhereNeedsConsent) {
  domain::RunConfig config = SmallConfig(7, 1);
  Gang first(Folder("first"), config, "");
  first.Start();
  ASSERT_EQ(first.process().Wait(), 0) << first.process().Log();
  config.train.steps = 9;
  Gang refused(Folder("refused"), config, first.NewestCheckpoint());
  refused.Start();
  EXPECT_EQ(refused.process().Wait(), 78);
  EXPECT_EQ(refused.Record(0).cause, EndCause::kUserError);
  EXPECT_THAT(refused.Record(0).message, HasSubstr("allow_inexact_resume"));
  Gang allowed(Folder("allowed"), config, first.NewestCheckpoint());
  allowed.spec().allow_inexact_resume = true;
  allowed.Start();
  EXPECT_EQ(allowed.process().Wait(), 0) << allowed.process().Log();
  EXPECT_EQ(allowed.LastStep(), 9);
}

TEST_F(TrainerTest, StartsFromTheWeightsOfAnotherFolder) {
  const domain::RunConfig config = SmallConfig(7, 1);
  Gang first(Folder("first"), config, "");
  first.Start();
  ASSERT_EQ(first.process().Wait(), 0) << first.process().Log();
  Gang second(Folder("second"), config, "");
  second.spec().init_dir = first.NewestCheckpoint();
  second.Start();
  ASSERT_EQ(second.process().Wait(), 0) << second.process().Log();
  Trace a, b;
  a.Add(first);
  b.Add(second);
  EXPECT_LT(b.samples[1].loss, a.samples[1].loss - 0.1);
}

TEST_F(TrainerTest, UnusableInputsAreUserErrorsThatNameThem) {
  Gang no_data(Folder("no-data"), SmallConfig(7, 1), "");
  no_data.spec().dataset_dir = root_ + "/nowhere";
  no_data.Start();
  EXPECT_EQ(no_data.process().Wait(), 78) << no_data.process().Log();
  EXPECT_EQ(no_data.Record(0).cause, EndCause::kUserError);
  EXPECT_THAT(no_data.Record(0).message, HasSubstr(root_ + "/nowhere"));

  domain::RunConfig other = SmallConfig(7, 1);
  other.dataset.hash = "0123";
  Gang wrong_data(Folder("wrong-data"), other, "");
  wrong_data.Start();
  EXPECT_EQ(wrong_data.process().Wait(), 78);
  EXPECT_THAT(wrong_data.Record(0).message, HasSubstr("@0123"));

  domain::RunConfig small = SmallConfig(7, 1);
  small.model.vocab_size = 100;
  Gang vocabulary(Folder("vocabulary"), small, "");
  vocabulary.Start();
  EXPECT_EQ(vocabulary.process().Wait(), 78);
  EXPECT_THAT(vocabulary.Record(0).message, HasSubstr("vocabulary of 256, but model.vocab_size is 100"));
}

TEST_F(TrainerTest, GpuSlotsThatItCannotUseAreRefusedWithTheRemedy) {
  Gang over_mpi(Folder("over-mpi"), SmallConfig(3, 1), "");
  over_mpi.spec().device = "cuda";
  over_mpi.spec().collective = "mpi";
  over_mpi.Start();
  EXPECT_EQ(over_mpi.process().Wait(), 78) << over_mpi.process().Log();
  EXPECT_EQ(over_mpi.Record(0).cause, EndCause::kUserError);
  EXPECT_THAT(over_mpi.Record(0).message, HasSubstr("device cuda needs nccl"));
#ifndef ENTRAIN_CUDA
  Gang no_cuda(Folder("no-cuda"), SmallConfig(3, 1), "");
  no_cuda.spec().device = "cuda";
  no_cuda.spec().slots = {0};
  no_cuda.Start();
  EXPECT_EQ(no_cuda.process().Wait(), 78) << no_cuda.process().Log();
  EXPECT_EQ(no_cuda.Record(0).cause, EndCause::kUserError);
  EXPECT_THAT(no_cuda.Record(0).message, HasSubstr("scripts/setup --cuda"));
#endif
}

TEST_F(TrainerTest, AloneItMakesItsOwnFolder) {
  const std::string config = Folder("run.json");
  ASSERT_TRUE(WriteFileAtomically(config, sweep::ToCanonicalJson(SmallConfig(3, 1))).ok());
  const std::string trainer = std::string(ENTRAIN_BIN_DIR) + "/entrain-trainer";
  for (const char* attempt : {"attempt-0001", "attempt-0002"}) {
    Process alone({trainer, config, "--dataset", SharedDataset().dir, "--out", Folder("out")}, Folder("log"));
    EXPECT_EQ(alone.Wait(), 0) << alone.Log();
    EXPECT_THAT(alone.Log(), HasSubstr(attempt));
    EXPECT_TRUE(std::filesystem::exists(Folder("out/") + attempt + "/checkpoints/step-00000003/model.safetensors"));
  }
  Process usage({trainer, config}, Folder("log"));
  EXPECT_EQ(usage.Wait(), 64);
  Process flag({trainer, "--no-such-flag"}, Folder("log"));
  EXPECT_EQ(flag.Wait(), 64);
  ASSERT_TRUE(WriteFileAtomically(config, "{\"train\":{\"stepz\":3}}").ok());
  Process field({trainer, config, "--dataset", SharedDataset().dir, "--out", Folder("out")}, Folder("log"));
  EXPECT_EQ(field.Wait(), 78);
  EXPECT_THAT(field.Log(), HasSubstr("stepz"));
}

}  // namespace
}  // namespace entrain::trainer
