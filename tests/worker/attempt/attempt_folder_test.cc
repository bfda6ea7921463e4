#include "worker/attempt/attempt_folder.h"

#include <sys/stat.h>

#include <bit>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "base/files.h"
#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::attempt {
namespace {

using testing::HasSubstr;

class AttemptFolderTest : public testing::Test {
 protected:
  AttemptFolderTest() : root_(testing::TempDir() + "attempt-" + SystemIdSource().Next(10)), folder_(root_) {}
  ~AttemptFolderTest() override { std::filesystem::remove_all(root_); }

  static AttemptSpec Spec() {
    AttemptSpec spec;
    spec.key = {RunId("r1"), 7};
    spec.dataset_dir = "/data/set";
    spec.resume_dir = "/x/step-00000010";
    spec.collective = "nccl";
    spec.device = "cuda";
    spec.control_socket = "/tmp/s";
    spec.world_size = 4;
    spec.ranks_per_machine = 2;
    spec.threads_per_rank = 3;
    spec.slots = {0, 5};
    spec.allow_inexact_resume = true;
    return spec;
  }
  void Create() { ASSERT_TRUE(folder_.Create(Spec(), "{\"version\":1}").ok()); }
  void AppendRaw(const std::string& file, const std::string& text) {
    std::ofstream(folder_.Path(file), std::ios::app | std::ios::binary) << text;
  }

  std::string root_;
  AttemptFolder folder_;
};

domain::EntropySample Step(std::int64_t step) {
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = 1.0 / 3.0;
  sample.entropy_nats = {0.1f, 2.5f};
  return sample;
}

std::int64_t StepOf(const EventReader::Entry& entry) { return std::get<domain::EntropySample>(entry.event).step; }

TEST_F(AttemptFolderTest, SpecAndConfigurationComeBack) {
  Create();
  const absl::StatusOr<AttemptSpec> spec = folder_.ReadSpec();
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->key, Spec().key);
  EXPECT_EQ(spec->dataset_dir, "/data/set");
  EXPECT_EQ(spec->resume_dir, "/x/step-00000010");
  EXPECT_EQ(spec->init_dir, "");
  EXPECT_EQ(spec->collective, "nccl");
  EXPECT_EQ(spec->device, "cuda");
  EXPECT_EQ(spec->world_size, 4);
  EXPECT_EQ(spec->ranks_per_machine, 2);
  EXPECT_EQ(spec->threads_per_rank, 3);
  EXPECT_EQ(spec->slots, (std::vector<std::int32_t>{0, 5}));
  EXPECT_TRUE(spec->allow_inexact_resume);
  EXPECT_EQ(*folder_.ReadConfigJson(), "{\"version\":1}");
}

TEST_F(AttemptFolderTest, RefusesAnotherFormatByNumber) {
  Create();
  std::string text = *ReadFile(folder_.Path("attempt.json"));
  const std::string current = "\"format_version\":1";
  text.replace(text.find(current), current.size(), "\"format_version\":9");
  ASSERT_TRUE(WriteFileAtomically(folder_.Path("attempt.json"), text).ok());
  const absl::Status status = folder_.ReadSpec().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("attempt.json: field 'format_version' is 9"));
}

TEST_F(AttemptFolderTest, AFolderWithoutDeviceMeansCpuAndAnUnknownOneIsRefused) {
  Create();
  std::string text = *ReadFile(folder_.Path("attempt.json"));
  const std::string device = "\"device\":\"cuda\",";
  ASSERT_NE(text.find(device), std::string::npos) << text;
  std::string other = text;
  other.replace(other.find(device), device.size(), "\"device\":\"tpu\",");
  ASSERT_TRUE(WriteFileAtomically(folder_.Path("attempt.json"), other).ok());
  EXPECT_THAT(std::string(folder_.ReadSpec().status().message()), HasSubstr("field 'device' is 'tpu'"));
  text.erase(text.find(device), device.size());
  ASSERT_TRUE(WriteFileAtomically(folder_.Path("attempt.json"), text).ok());
  const absl::StatusOr<AttemptSpec> spec = folder_.ReadSpec();
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->device, "cpu");
}

TEST_F(AttemptFolderTest, NamesTheFieldThatIsMissing) {
  Create();
  ASSERT_TRUE(WriteFileAtomically(folder_.Path("attempt.json"), "{\"format_version\":1,\"run\":\"r\"}").ok());
  EXPECT_THAT(std::string(folder_.ReadSpec().status().message()), HasSubstr("'attempt' is missing"));
  ASSERT_TRUE(WriteFileAtomically(folder_.Path("attempt.json"), "{\"format_ver").ok());
  EXPECT_THAT(std::string(folder_.ReadSpec().status().message()), HasSubstr("attempt.json: not JSON"));
}

TEST_F(AttemptFolderTest, TerminalRecordsArePerRank) {
  Create();
  EXPECT_EQ(*folder_.ReadTerminalRecord(0), std::nullopt);
  TerminalRecord record{domain::EndCause::kNonFinite, 12, "loss is nan\n\"at\" step 12", std::nan(""), 4096};
  ASSERT_TRUE(folder_.WriteTerminalRecord(0, record).ok());
  const absl::StatusOr<std::optional<TerminalRecord>> read = folder_.ReadTerminalRecord(0);
  ASSERT_TRUE(read.ok() && read->has_value()) << read.status();
  EXPECT_EQ((*read)->cause, domain::EndCause::kNonFinite);
  EXPECT_EQ((*read)->step, 12);
  EXPECT_EQ((*read)->message, record.message);
  EXPECT_TRUE(std::isnan((*read)->loss));
  EXPECT_EQ((*read)->tokens, 4096);
  EXPECT_EQ(*folder_.ReadTerminalRecord(1), std::nullopt);
}

TEST_F(AttemptFolderTest, DamagedTerminalRecordIsAnErrorWithItsPath) {
  Create();
  AppendRaw("terminal/rank-0.json", "{\"cause\":\"comp");
  EXPECT_THAT(std::string(folder_.ReadTerminalRecord(0).status().message()), HasSubstr("terminal/rank-0.json: not JSON"));
}

TEST(EventLineTest, NumbersRoundTripBitForBit) {
  Rng rng(7, 0);
  for (int round = 0; round < 2000; ++round) {
    domain::EntropySample sample;
    sample.step = static_cast<std::int64_t>(rng.NextU64() >> 1);
    sample.loss = std::bit_cast<double>(rng.NextU64());
    sample.lr = std::bit_cast<double>(rng.NextU64());
    for (int i = 0; i < 8; ++i) {
      sample.entropy_nats.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(rng.NextU64())));
    }
    const absl::StatusOr<AttemptEvent> read = DecodeEvent(EncodeEvent(sample));
    ASSERT_TRUE(read.ok()) << read.status();
    const auto& back = std::get<domain::EntropySample>(*read);
    EXPECT_EQ(back.step, sample.step);
    const auto same = [](auto a, auto b) {
      return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b);
    };
    EXPECT_TRUE(same(sample.loss, back.loss)) << sample.loss;
    EXPECT_TRUE(same(sample.lr, back.lr)) << sample.lr;
    ASSERT_EQ(back.entropy_nats.size(), sample.entropy_nats.size());
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_TRUE(same(sample.entropy_nats[i], back.entropy_nats[i])) << EncodeEvent(sample);
    }
  }
}

TEST(EventLineTest, NonFiniteNumbersAreStrings) {
  domain::EntropySample sample;
  sample.loss = std::nan("");
  sample.reg = std::numeric_limits<double>::infinity();
  sample.grad_norm = -std::numeric_limits<double>::infinity();
  sample.lr = -0.0;
  sample.max_abs_score = {std::numeric_limits<float>::infinity(), 1.0f};
  const std::string line = EncodeEvent(sample);
  EXPECT_THAT(line, HasSubstr("\"loss\":\"nan\",\"reg\":\"inf\",\"grad_norm\":\"-inf\",\"lr\":-0.0"));
  EXPECT_THAT(line, HasSubstr("\"max_abs_score\":[\"inf\",1]"));
  const auto back = std::get<domain::EntropySample>(*DecodeEvent(line));
  EXPECT_TRUE(std::isnan(back.loss));
  EXPECT_TRUE(std::signbit(back.lr));
}

TEST(EventLineTest, EveryKindComesBack) {
  EXPECT_EQ(std::get<GangReady>(*DecodeEvent(EncodeEvent(GangReady{30}))).resume_step, 30);
  const domain::Evaluation evaluation{40, 1.25, 1000, 5};
  EXPECT_EQ(std::get<domain::Evaluation>(*DecodeEvent(EncodeEvent(evaluation))), evaluation);
  const auto written = std::get<CheckpointWritten>(
      *DecodeEvent(EncodeEvent(CheckpointWritten{50, "checkpoints/step-00000050", 1 << 30, "abc", 40})));
  EXPECT_EQ(written.step, 50);
  EXPECT_EQ(written.folder, "checkpoints/step-00000050");
  EXPECT_EQ(written.best_step, 40);
  EXPECT_EQ(written.bytes, 1 << 30);
  EXPECT_EQ(written.hash, "abc");
}

TEST(EventLineTest, BadLinesSayWhatIsWrong) {
  const auto message = [](std::string_view line) { return std::string(DecodeEvent(line).status().message()); };
  EXPECT_THAT(message("{\"type\":\"st"), HasSubstr("not JSON"));
  EXPECT_THAT(message("{\"type\":\"nap\"}"), HasSubstr("'type' is 'nap'"));
  EXPECT_THAT(message("{\"type\":\"ready\",\"resume_step\":1.5}"), HasSubstr("'resume_step' is not an integer"));
  EXPECT_THAT(message("{\"type\":\"ready\",\"resume_step\":18446744073709551615}"), HasSubstr("not an integer"));
  EXPECT_THAT(message("[1]"), HasSubstr("not a JSON object"));
}

TEST(CommandTest, ComesBack) {
  const StopCommand back = *DecodeCommand(EncodeCommand({domain::StopMode::kNow, "preempted"}));
  EXPECT_EQ(back.mode, domain::StopMode::kNow);
  EXPECT_EQ(back.reason, "preempted");
  EXPECT_FALSE(DecodeCommand("{\"command\":\"stop\",\"mode\":\"maybe\",\"reason\":\"\"}").ok());
}

TEST_F(AttemptFolderTest, ReaderFollowsTheWriterOverSegments) {
  Create();
  EventWriter writer(folder_, /*segment_bytes=*/300);
  EventReader reader(folder_);
  EXPECT_TRUE(reader.Read(10)->empty());
  for (int step = 1; step <= 20; ++step) ASSERT_TRUE(writer.Append(Step(step)).ok());
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("events/00000002.jsonl")));
  std::vector<std::int64_t> steps;
  std::vector<std::uint64_t> offsets;
  for (;;) {
    const auto entries = reader.Read(3);
    ASSERT_TRUE(entries.ok()) << entries.status();
    if (entries->empty()) break;
    EXPECT_LE(entries->size(), 3u);
    for (const auto& entry : *entries) {
      steps.push_back(StepOf(entry));
      offsets.push_back(entry.end_offset);
    }
  }
  ASSERT_EQ(steps.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(steps[static_cast<std::size_t>(i)], i + 1);
  // Any offset is a place to go on from.
  EventReader later(folder_, offsets[11]);
  EXPECT_EQ(StepOf(later.Read(1)->at(0)), 13);
}

TEST_F(AttemptFolderTest, TornLastLineWaitsForItsNewline) {
  Create();
  const std::string line = EncodeEvent(Step(1));
  AppendRaw("events/00000001.jsonl", line + "\n" + line.substr(0, 20));
  EventReader reader(folder_);
  EXPECT_EQ(reader.Read(10)->size(), 1u);
  EXPECT_TRUE(reader.Read(10)->empty());
  AppendRaw("events/00000001.jsonl", line.substr(20) + "\n");
  EXPECT_EQ(reader.Read(10)->size(), 1u);
}

TEST_F(AttemptFolderTest, ANewWriterLeavesATornLineBehind) {
  Create();
  AppendRaw("events/00000001.jsonl", EncodeEvent(Step(1)) + "\n{\"type\":\"st");
  EventWriter writer(folder_);
  ASSERT_TRUE(writer.Append(Step(2)).ok());
  EventReader reader(folder_);
  const auto entries = reader.Read(10);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ(StepOf(entries->at(1)), 2);
}

TEST_F(AttemptFolderTest, DamageNamesPathAndLine) {
  Create();
  AppendRaw("events/00000001.jsonl", EncodeEvent(Step(1)) + "\n" + EncodeEvent(Step(2)) + "\nrubbish\n");
  EventReader reader(folder_);
  EXPECT_EQ(reader.Read(10)->size(), 2u);
  const absl::Status status = reader.Read(10).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("events/00000001.jsonl:3: event: not JSON"));
}

TEST_F(AttemptFolderTest, DeletesOnlyWhatIsAcknowledgedAndNeverTheLast) {
  Create();
  EventWriter writer(folder_, /*segment_bytes=*/1);
  for (int step = 1; step <= 4; ++step) ASSERT_TRUE(writer.Append(Step(step)).ok());
  EventReader reader(folder_);
  const auto entries = reader.Read(10);
  ASSERT_EQ(entries->size(), 4u);
  const auto there = [&](int n) { return std::filesystem::exists(folder_.Path("events/0000000" + std::to_string(n) + ".jsonl")); };
  ASSERT_TRUE(reader.DeleteThrough(entries->at(1).end_offset - 1).ok());
  EXPECT_FALSE(there(1));
  EXPECT_TRUE(there(2));
  ASSERT_TRUE(reader.DeleteThrough(entries->at(3).end_offset).ok());
  EXPECT_FALSE(there(3));
  EXPECT_TRUE(there(4));
  // A reader from the start goes on with what is left, a writer with the next number.
  EventReader again(folder_);
  EXPECT_EQ(StepOf(again.Read(10)->at(0)), 4);
  ASSERT_TRUE(writer.Append(Step(5)).ok());
  EXPECT_TRUE(there(5));
}

TEST_F(AttemptFolderTest, MissingFolderIsAnErrorWithItsPath) {
  EventReader reader(folder_);
  const absl::Status status = reader.Read(1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(root_));
  EXPECT_FALSE(EventWriter(folder_).Append(Step(1)).ok());
}

}  // namespace
}  // namespace entrain::attempt
