// What a probe refuses, and what it accepts besides a numerical case's folder.
#include "worker/trainer/probe.h"

#include <torch/torch.h>

#include <filesystem>
#include <fstream>

#include "data/safetensors.h"
#include "data/tokenizer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/gpt.h"
#include "model/weights.h"

namespace entrain::trainer {
namespace {

using testing::HasSubstr;
using torch::Tensor;

class ProbeTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/probe-" + testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    const std::string fixture = std::string(ENTRAIN_FIXTURES) + "/ln_gelu_new_hf";
    options_.config = fixture + "/config.json";
    options_.weights = fixture;
    options_.tokens = fixture + "/tokens.safetensors";
    options_.out = dir_ + "/out.safetensors";
  }

  std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
    return dir_ + "/" + name;
  }

  std::string WriteTensors(const std::string& name, const std::map<std::string, Tensor>& tensors) {
    std::map<std::string, data::TensorView> views;
    for (const auto& [key, tensor] : tensors) views[key] = model::ViewOf(tensor);
    EXPECT_TRUE(data::WriteSafetensors(dir_ + "/" + name, views).ok());
    return dir_ + "/" + name;
  }

  void ExpectRefused(const std::string& part) {
    const absl::Status status = RunProbe(options_);
    EXPECT_THAT(std::string(status.message()), HasSubstr(part));
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(std::filesystem::exists(options_.out));
  }

  Tensor Result(const std::string& name) {
    const auto file = data::SafetensorsFile::Open(options_.out);
    EXPECT_TRUE(file.ok()) << file.status();
    const auto view = file->Get(name);
    EXPECT_TRUE(view.ok()) << view.status();
    return model::ToTensor(*view);
  }

  std::string dir_;
  ProbeOptions options_;
};

TEST_F(ProbeTest, RefusesWhatIsNotThereOrWrong) {
  const ProbeOptions good = options_;
  options_.config = Write("not.json", "{");
  ExpectRefused("not.json");
  options_.config = Write("unknown.json", R"({"model": {"n_layers": 3}})");
  ExpectRefused("n_layers");
  options_ = good;
  options_.weights = dir_ + "/absent.safetensors";
  ExpectRefused("absent.safetensors");
  options_.weights = WriteTensors("few.safetensors", {{"transformer.wte.weight", at::zeros({97, 32})}});
  ExpectRefused("transformer.wpe.weight");
  options_.weights = WriteTensors("shape.safetensors", {{"transformer.wte.weight", at::zeros({97, 31})}});
  ExpectRefused("[97,31]");
  options_ = good;
  const auto tokens = [&](const Tensor& values) { return WriteTensors("tokens.safetensors", {{"tokens", values}}); };
  options_.tokens = tokens(at::full({1, 4}, 97, at::kInt));
  ExpectRefused("97");
  options_.tokens = tokens(at::zeros({1, 25}, at::kInt));
  ExpectRefused("n_positions is 24");
  options_.tokens = tokens(at::zeros({2, 4}));
  ExpectRefused("integers");
  options_.tokens = tokens(at::zeros({8}, at::kInt));
  ExpectRefused("[B,T]");
  options_ = good;
  options_.tokens.clear();
  ExpectRefused("either tokens or text");
  options_.text = Write("some.txt", "some text");
  ExpectRefused("97 tokens");
  options_.tokenizer = "bytes";
  ExpectRefused("text as bytes holds 1");
  options_.tokenizer = "sentencepiece:bpe:1000";
  ExpectRefused("would be trained anew");
  options_.tokenizer = dir_ + "/absent.model";
  ExpectRefused("absent.model");
}

TEST_F(ProbeTest, WithoutLabelsTheNextTokenIsTheLabel) {
  const Tensor tokens = at::arange(0, 12, at::kInt).view({2, 6});
  options_.tokens = WriteTensors("bare.safetensors", {{"tokens", tokens}});
  ASSERT_TRUE(RunProbe(options_).ok());
  const Tensor bare = Result("ce");
  Tensor labels = tokens + 1;
  labels.select(1, 5).fill_(-100);
  options_.tokens = WriteTensors("labelled.safetensors", {{"tokens", tokens}, {"labels", labels}});
  ASSERT_TRUE(RunProbe(options_).ok());
  EXPECT_TRUE(bare.equal(Result("ce")));
}

// The same weights under Hugging Face's own config.json and without the prefix of the names, on text.
TEST_F(ProbeTest, ReadsHuggingFaceFoldersAndText) {
  domain::ModelConfig config;
  config.vocab_size = 256;
  config.n_positions = 16;
  config.n_layer = 2;
  config.n_head = 2;
  config.n_embd = 16;
  config.layer.activation = domain::Activation::kGeluNew;
  const model::Gpt gpt(config, 4);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : gpt.NamedParameters()) tensors[name.substr(std::string("transformer.").size())] = tensor.detach();
  tensors["h.0.attn.bias"] = at::ones({1, 1, 16, 16}, at::kBool);
  options_.weights = WriteTensors("model.safetensors", tensors);
  options_.config = Write("config.json", R"({"model_type": "gpt2", "vocab_size": 256, "n_positions": 16, "n_embd": 16,
    "n_layer": 2, "n_head": 2, "n_inner": null, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05})");
  options_.tokens.clear();
  options_.text = Write("text.txt", "What a piece of work is a man, how noble in reason");
  const absl::Status status = RunProbe(options_);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(Result("entropy").sizes(), at::IntArrayRef({2, 3, 2, 16}));
  EXPECT_NEAR(Result("ce").item<double>(), std::log(256.0), 0.2);
  const Tensor bytes = Result("entropy");
  options_.max_sequences = 2;
  ASSERT_TRUE(RunProbe(options_).ok());
  EXPECT_TRUE(Result("entropy").equal(bytes.narrow(1, 0, 2)));
  Write("config.json", R"({"model_type": "gpt2", "activation_function": "swish"})");
  std::filesystem::remove(options_.out);
  ExpectRefused("swish");
}

// What stands in the folder of the weights, as in a Hugging Face folder, or what is named, in each form.
TEST_F(ProbeTest, TextGoesThroughTheModelsTokeniser) {
  domain::ModelConfig config;
  config.vocab_size = 1000;
  config.n_positions = 8;
  config.n_layer = 1;
  config.n_head = 2;
  config.n_embd = 16;
  const model::Gpt gpt(config, 5);
  std::map<std::string, Tensor> tensors;
  for (const auto& [name, tensor] : gpt.NamedParameters()) tensors[name] = tensor.detach();
  options_.weights = WriteTensors("model.safetensors", tensors);
  options_.config = Write("config.json", R"({"model_type": "gpt2", "vocab_size": 1000, "n_positions": 8, "n_embd": 16,
    "n_layer": 1, "n_head": 2, "n_inner": null, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05})");
  const std::string folder = std::string(ENTRAIN_SOURCE_DIR) + "/tests/data/byte_level";
  const auto tokenizer = data::OpenTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text = "def the_answer(self):";
  std::vector<std::uint32_t> expected;
  ASSERT_TRUE((*tokenizer)->Encode(text, &expected).ok());
  ASSERT_GT(expected.size(), 8u);
  Tensor tokens_BT = at::empty({1, 8}, at::kInt);
  for (int i = 0; i < 8; ++i) tokens_BT[0][i] = static_cast<int>(expected[static_cast<std::size_t>(i)]);
  options_.tokens = WriteTensors("tokens.safetensors", {{"tokens", tokens_BT}});
  ASSERT_TRUE(RunProbe(options_).ok());
  const Tensor logits = Result("logits");
  options_.tokens.clear();
  options_.text = Write("text.txt", text);
  std::filesystem::copy(folder + "/tokenizer.json", dir_ + "/tokenizer.json");
  ASSERT_TRUE(RunProbe(options_).ok());
  EXPECT_TRUE(logits.equal(Result("logits")));
  std::filesystem::remove(dir_ + "/tokenizer.json");
  std::filesystem::remove(options_.out);
  ExpectRefused("--tokenizer");
  options_.tokenizer = folder;
  ASSERT_TRUE(RunProbe(options_).ok());
  EXPECT_TRUE(logits.equal(Result("logits")));
}

}  // namespace
}  // namespace entrain::trainer
