#include "proto/convert.h"

#include <cmath>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace entrain::wire {
namespace {

using testing::HasSubstr;

domain::EntropySample FullSample() {
  domain::EntropySample sample;
  sample.step = 17;
  sample.loss = 3.25;
  sample.reg = 0.125;
  sample.grad_norm = 1.5;
  sample.lr = 1e-3;
  sample.tokens = 4096;
  sample.tokens_per_second = 812.5;
  sample.wall_ms = 1'700'000'000'123;
  sample.entropy_nats = {0.5F, 1.25F, 2.0F, 3.5F};
  sample.max_abs_score = {4.0F, 5.0F};
  sample.theta = {0.1F, 0.2F, 0.3F, 0.4F};
  return sample;
}

TEST(ConvertTest, SampleSurvivesTheWire) {
  const auto back = FromWire(ToWire(FullSample()));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, FullSample());
}

TEST(ConvertTest, NonFiniteNumbersOfASampleSurvive) {
  domain::EntropySample sample = FullSample();
  sample.loss = std::numeric_limits<double>::quiet_NaN();
  sample.grad_norm = std::numeric_limits<double>::infinity();
  sample.entropy_nats[1] = std::numeric_limits<float>::quiet_NaN();
  v1::Sample parsed;
  ASSERT_TRUE(parsed.ParseFromString(ToWire(sample).SerializeAsString()));
  const auto back = FromWire(parsed);
  ASSERT_TRUE(back.ok());
  EXPECT_TRUE(std::isnan(back->loss));
  EXPECT_EQ(back->grad_norm, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(back->entropy_nats[1]));
}

TEST(ConvertTest, SampleOutOfRangeNamesTheField) {
  v1::Sample wire = ToWire(FullSample());
  wire.set_step(0);
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("sample.step"));
  wire = ToWire(FullSample());
  wire.add_theta(1.0F);
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("sample.theta"));
  wire = ToWire(FullSample());
  wire.mutable_entropy_nats()->Resize(kMaxHeads + 1, 0.0F);
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("sample.entropy_nats"));
}

TEST(ConvertTest, EvaluationCheckpointAndKeySurvive) {
  const domain::Evaluation evaluation{100, 2.5, 12'800, 77};
  EXPECT_EQ(*FromWire(ToWire(evaluation)), evaluation);
  const domain::Checkpoint checkpoint{2, 100, "checkpoints/r1/2/step-100", 1234, "abcd", 80};
  EXPECT_EQ(*FromWire(ToWire(checkpoint)), checkpoint);
  EXPECT_EQ(*FromWire(ToWire(domain::Checkpoint{})), domain::Checkpoint{});
  const domain::AttemptKey key{RunId("r0123"), 3};
  EXPECT_EQ(*FromWire(ToWire(key)), key);
}

TEST(ConvertTest, CheckpointPathsCannotLeaveTheArtifactRoot) {
  for (const char* path : {"/etc/passwd", "../x", "checkpoints/../../x", "a//b", "./a"}) {
    v1::Checkpoint wire;
    wire.set_path(path);
    const auto decoded = FromWire(wire);
    EXPECT_THAT(decoded.status().message(), HasSubstr("checkpoint.path")) << path;
  }
}

TEST(ConvertTest, KeysThatCouldBePathsAreRefused) {
  for (const char* id : {"", "../r", "a/b", ".hidden", "a b"}) {
    v1::AttemptKey wire;
    wire.set_run_id(id);
    wire.set_attempt(1);
    EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("key.run_id")) << id;
  }
  v1::AttemptKey wire;
  wire.set_run_id("r1");
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("key.attempt"));
}

TEST(ConvertTest, VerdictSurvivesAndUnknownReasonIsNamed) {
  domain::Verdict verdict;
  verdict.attempt = 2;
  verdict.step = 150;
  verdict.reason = domain::HaltReason::kCollapse;
  verdict.rule = "collapse.whole_layer";
  verdict.heads = {4, 5, 6, 7};
  verdict.steps = {100, 150};
  verdict.values = {0.04, 0.03};
  verdict.limit = 0.05;
  verdict.explanation = "every head of layer 1";
  EXPECT_EQ(*FromWire(ToWire(verdict)), verdict);
  v1::Verdict wire = ToWire(verdict);
  wire.set_reason("boredom");
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("verdict.reason is not known: \"boredom\""));
}

TEST(ConvertTest, AttemptEndSurvivesForEveryCause) {
  for (int cause = 0; cause <= static_cast<int>(domain::EndCause::kFenced); ++cause) {
    const domain::AttemptEnd end{static_cast<domain::EndCause>(cause), 12, "rank 1: why", 9, 3.5, 100};
    const auto back = FromWire(ToWire(end));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, end);
  }
  v1::AttemptEnded wire;
  wire.set_cause("vanished");
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("ended.cause"));
}

TEST(ConvertTest, GangSurvivesAndAnEmptyOneIsRefused) {
  domain::Gang gang;
  gang.members = {{WorkerId("w1"), {0, 1}}, {WorkerId("w2"), {3}}};
  EXPECT_EQ(*FromWire(ToWire(gang)), gang);
  EXPECT_THAT(FromWire(WireGang()).status().message(), HasSubstr("gang"));
}

TEST(ConvertTest, WorkerInfoSurvivesAndNonsenseIsNamed) {
  const domain::WorkerInfo info{WorkerId("w1"), "node-3", "0.1.0", domain::SlotKind::kGpu, 8, "H100", "node-3:7071"};
  EXPECT_EQ(*FromWire(ToWire(info)), info);
  v1::Hello wire = ToWire(info);
  wire.set_slots(0);
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("hello.slots"));
  wire = ToWire(info);
  wire.set_slot_kind("tpu");
  EXPECT_THAT(FromWire(wire).status().message(), HasSubstr("hello.slot_kind"));
}

TEST(ConvertTest, LaunchCarriesWhatAWorkerNeeds) {
  domain::LaunchAttempt launch;
  launch.key = {RunId("r1"), 2};
  launch.gang.members = {{WorkerId("w1"), {0, 1}}};
  domain::RunSpec spec;
  spec.config_json = "{\"version\":1}";
  spec.variant = "SM";
  spec.label = "SM seed=1";
  spec.n_layer = 6;
  spec.n_head = 4;
  spec.context = 64;
  spec.steps = 200;
  launch.spec = std::make_shared<const domain::RunSpec>(spec);
  launch.resume_from = {1, 100, "checkpoints/r1/1/step-100", 10, "ab"};
  const v1::Launch wire = ToWire(launch, "quickstart");
  EXPECT_EQ(wire.sweep_name(), "quickstart");
  EXPECT_EQ(wire.config_json(), spec.config_json);
  EXPECT_EQ(*FromWire(wire.key()), launch.key);
  EXPECT_EQ(*FromWire(wire.gang()), launch.gang);
  EXPECT_EQ(*FromWire(wire.resume_from()), launch.resume_from);
  EXPECT_EQ(wire.n_layer(), 6);
  EXPECT_EQ(wire.steps(), 200);
}

}  // namespace
}  // namespace entrain::wire
