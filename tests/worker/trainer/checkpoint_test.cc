#include "worker/trainer/checkpoint.h"

#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "base/files.h"
#include "base/random.h"
#include "data/folder_manifest.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "sweep/run_config_json.h"
#include "worker/trainer/hugging_face_config.h"

namespace entrain::trainer {
namespace {

using testing::HasSubstr;

class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() : root_(testing::TempDir() + "checkpoint-" + SystemIdSource().Next(10)), folder_(root_) {
    EXPECT_TRUE(MakeFolders(folder_.Path("checkpoints")).ok());
    std::iota(values_.begin(), values_.end(), 0.0f);
  }
  ~CheckpointTest() override { std::filesystem::remove_all(root_); }

  CheckpointContent Content(std::int64_t step) const {
    CheckpointContent content;
    content.state.step = step;
    content.state.tokens = 64 * step;
    content.state.loss = 1.0 / 3.0;
    content.state.seed = 0xffff'ffff'ffff'fff1ull;
    content.state.world_size = 2;
    content.state.threads_per_rank = 1;
    content.state.instruction_set = "AVX2";
    content.state.config_hash = "c";
    content.model.n_embd = 8;
    content.model.n_head = 2;
    const data::TensorView view{data::DType::kF32, {1000, 2500}, reinterpret_cast<const char*>(values_.data()),
                                static_cast<std::int64_t>(values_.size() * sizeof(float))};
    content.model_tensors = {{"transformer.wte.weight", view}};
    content.optimizer_tensors = {{"exp_avg.transformer.wte.weight", view}};
    return content;
  }
  std::string Write(std::int64_t step) {
    const auto written = WriteCheckpoint(folder_, Content(step));
    EXPECT_TRUE(written.ok()) << written.status();
    return written.ok() ? folder_.Path(written->folder) : "";
  }
  std::size_t EntriesOfCheckpoints() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder_.Path("checkpoints")),
                                                  std::filesystem::directory_iterator()));
  }

  std::string root_;
  attempt::AttemptFolder folder_;
  std::vector<float> values_ = std::vector<float>(2'500'000);
};

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

TEST_F(CheckpointTest, ComesBack) {
  const auto written = WriteCheckpoint(folder_, Content(30));
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->folder, "checkpoints/step-00000030");
  EXPECT_GT(written->bytes, 20'000'000);
  EXPECT_EQ(written->hash.size(), 32u);
  const auto opened = OpenCheckpoint(folder_.Path(written->folder));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->state.step, 30);
  EXPECT_EQ(opened->state.loss, 1.0 / 3.0);
  EXPECT_EQ(opened->state.seed, 0xffff'ffff'ffff'fff1ull);
  EXPECT_EQ(opened->state.instruction_set, "AVX2");
  const auto view = opened->model.Get("transformer.wte.weight");
  ASSERT_TRUE(view.ok());
  EXPECT_EQ(view->shape, (std::vector<std::int64_t>{1000, 2500}));
  EXPECT_EQ(std::memcmp(view->bytes, values_.data(), values_.size() * sizeof(float)), 0);
}

TEST_F(CheckpointTest, TheHashNamesTheContent) {
  const auto first = WriteCheckpoint(folder_, Content(1));
  const auto same = WriteCheckpoint(folder_, Content(1));
  values_[7] = -1.0f;
  const auto other = WriteCheckpoint(folder_, Content(1));
  ASSERT_TRUE(first.ok() && same.ok() && other.ok());
  EXPECT_EQ(first->hash, same->hash);
  EXPECT_NE(first->hash, other->hash);
}

TEST_F(CheckpointTest, TruncationNamesFileAndSizes) {
  const std::string dir = Write(1);
  const auto size = std::filesystem::file_size(dir + "/optimizer.safetensors");
  std::filesystem::resize_file(dir + "/optimizer.safetensors", size - 5);
  const absl::Status status = OpenCheckpoint(dir).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(MessageOf(status), HasSubstr(dir + "/optimizer.safetensors is truncated: it has " + std::to_string(size - 5) +
                                           " of " + std::to_string(size)));
}

TEST_F(CheckpointTest, OneFlippedBitIsFoundInItsBlock) {
  const std::string dir = Write(1);
  std::fstream file(dir + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(5'000'000);
  const char byte = static_cast<char>(file.get() ^ 4);
  file.seekp(5'000'000);
  file.put(byte);
  file.close();
  const absl::Status status = OpenCheckpoint(dir).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(MessageOf(status), HasSubstr("model.safetensors is damaged between bytes 4194304 and 8388608"));
}

TEST_F(CheckpointTest, MissingFilesAreNamed) {
  const std::string dir = Write(1);
  std::filesystem::remove(dir + "/state.json");
  EXPECT_THAT(MessageOf(OpenCheckpoint(dir).status()), HasSubstr("state.json is missing"));
  std::filesystem::remove(dir + "/manifest.json");
  EXPECT_THAT(MessageOf(OpenCheckpoint(dir).status()), HasSubstr("has no manifest.json"));
  EXPECT_TRUE(absl::IsNotFound(OpenCheckpoint(root_ + "/nowhere").status()));
}

TEST_F(CheckpointTest, ADamagedManifestIsNoCheckpoint) {
  const std::string dir = Write(1);
  for (const char* text : {"", "{\"files\":3}", "[]"}) {
    ASSERT_TRUE(WriteFileAtomically(dir + "/manifest.json", text).ok());
    EXPECT_EQ(OpenCheckpoint(dir).status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

TEST_F(CheckpointTest, AFullDiskIsSeenBeforeAnythingIsWritten) {
  CheckpointContent content = Content(1);
  content.model_tensors["huge"] = {data::DType::kF32, {1ll << 55}, nullptr, 1ll << 57};
  const absl::Status status = WriteCheckpoint(folder_, content).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(MessageOf(status), HasSubstr("checkpoint of step 1 needs"));
  EXPECT_EQ(EntriesOfCheckpoints(), 0u);
}

TEST_F(CheckpointTest, AWriteThatFailsHalfwayLeavesNothing) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit small{5'000'000, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status status = WriteCheckpoint(folder_, Content(1)).status();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(MessageOf(status), HasSubstr("model.safetensors"));
  EXPECT_EQ(EntriesOfCheckpoints(), 0u);
}

TEST_F(CheckpointTest, PruningKeepsTheNewestAndRemovesWhatWasInterrupted) {
  for (const std::int64_t step : {10, 20, 100}) Write(step);
  ASSERT_TRUE(MakeFolders(folder_.Path("checkpoints/step-00000110.unfinished")).ok());
  ASSERT_TRUE(PruneCheckpoints(folder_, 2, 0).ok());
  EXPECT_EQ(EntriesOfCheckpoints(), 2u);
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("checkpoints/step-00000020")));
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("checkpoints/step-00000100")));
  ASSERT_TRUE(PruneCheckpoints(folder_, 0, 0).ok());
  EXPECT_EQ(EntriesOfCheckpoints(), 2u);
}

TEST_F(CheckpointTest, PruningKeepsTheBest) {
  for (const std::int64_t step : {10, 20, 30, 40}) Write(step);
  ASSERT_TRUE(PruneCheckpoints(folder_, 1, 20).ok());
  EXPECT_EQ(EntriesOfCheckpoints(), 2u);
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("checkpoints/step-00000020")));
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("checkpoints/step-00000040")));
}

TEST_F(CheckpointTest, TheStateOfTheVersionBeforeIsRead) {
  CheckpointContent content = Content(30);
  content.state.loss_scale = 512.0;
  content.state.loss_scale_steps = 77;
  const auto written = WriteCheckpoint(folder_, content);
  ASSERT_TRUE(written.ok()) << written.status();
  const std::string dir = folder_.Path(written->folder), path = dir + "/state.json";
  const auto now = OpenCheckpoint(dir);
  ASSERT_TRUE(now.ok()) << now.status();
  EXPECT_EQ(now->state.loss_scale, 512.0);
  EXPECT_EQ(now->state.loss_scale_steps, 77);
  auto state = nlohmann::json::parse(*ReadFile(path));
  state.erase("loss_scale");
  state.erase("loss_scale_steps");
  for (const int version : {1, 3}) {
    state["format_version"] = version;
    ASSERT_TRUE(WriteFileAtomically(path, state.dump()).ok());
    ASSERT_TRUE(data::WriteManifest(dir).ok());
    const auto opened = OpenCheckpoint(dir);
    EXPECT_EQ(opened.ok(), version == 1) << opened.status();
    if (opened.ok()) {
      EXPECT_EQ(opened->state.loss_scale, 1.0);
    } else {
      EXPECT_THAT(MessageOf(opened.status()), HasSubstr("formats 1 to 2"));
    }
  }
}

TEST_F(CheckpointTest, ExactResumeNamesWhatDiffers) {
  const CheckpointState saved = Content(1).state;
  EXPECT_TRUE(CheckExactResume(saved, saved).ok());
  CheckpointState now = saved;
  now.world_size = 4;
  EXPECT_THAT(MessageOf(CheckExactResume(saved, now)), HasSubstr("world size 2, this attempt has 4"));
  now = saved;
  now.instruction_set = "AVX512";
  EXPECT_EQ(CheckExactResume(saved, now).code(), absl::StatusCode::kFailedPrecondition);
  now = saved;
  now.threads_per_rank = 2;
  EXPECT_THAT(MessageOf(CheckExactResume(saved, now)), HasSubstr("threads per rank"));
  now = saved;
  now.step = 77;  // not a condition
  EXPECT_TRUE(CheckExactResume(saved, now).ok());
}

TEST(HuggingFaceConfigTest, OnlyGpt2IsCalledGpt2) {
  domain::ModelConfig model;
  model.n_layer = 2;
  model.n_inner = 0;
  model.layer.activation = domain::Activation::kGeluNew;
  const auto config = nlohmann::json::parse(HuggingFaceConfigJson(model));
  EXPECT_EQ(config["model_type"], "gpt2");
  EXPECT_EQ(config["activation_function"], "gelu_new");
  EXPECT_EQ(config["n_inner"], 4 * model.n_embd);
  EXPECT_EQ(*sweep::ParseModelJson(config["entrain"]["model"].dump()), model);

  domain::ModelConfig norm_free = model;
  norm_free.layers[1] = model.layer;
  norm_free.layers[1].norm = domain::Norm::kNone;
  EXPECT_EQ(nlohmann::json::parse(HuggingFaceConfigJson(norm_free))["model_type"], "entrain_gpt");
}

TEST(ArchitectureTest, ReadsEveryFormAndRefusesWhatIsAnotherFunction) {
  domain::ModelConfig model;
  model.n_layer = 2;
  EXPECT_EQ(*ParseArchitecture(HuggingFaceConfigJson(model), "config.json"), model);
  EXPECT_EQ(ParseArchitecture(R"({"model": {"n_layer": 3}})", "c")->n_layer, 3);
  const auto gpt2 = ParseArchitecture(R"({"model_type": "gpt2", "n_layer": 4, "n_inner": null})", "c");
  ASSERT_TRUE(gpt2.ok()) << gpt2.status();
  EXPECT_EQ(gpt2->n_layer, 4);
  EXPECT_EQ(gpt2->vocab_size, 50257);
  EXPECT_EQ(gpt2->layer.activation, domain::Activation::kGeluNew);
  for (const char* other : {R"("tie_word_embeddings": false)", R"("activation_function": "silu")", R"("add_cross_attention": true)",
                            R"("scale_attn_weights": false)", R"("scale_attn_by_inverse_layer_idx": true)"}) {
    const auto refused = ParseArchitecture(std::string(R"({"model_type": "gpt2", )") + other + "}", "folder/config.json");
    EXPECT_THAT(MessageOf(refused.status()), HasSubstr("folder/config.json: ")) << other;
  }
  EXPECT_EQ(ParseArchitecture("[", "c").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseArchitecture(R"({"model_type": "gpt2", "n_embd": 10, "n_head": 3})", "c").status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace entrain::trainer
