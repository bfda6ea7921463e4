#include "sweep/run_config_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/files.h"

namespace entrain::sweep {
namespace {

using domain::RunConfig;
using ::testing::HasSubstr;

RunConfig SampleConfig() {
  RunConfig config;
  config.dataset = {"code", "0123456789abcdef0123456789abcdef"};
  config.model.n_layer = 6;
  config.model.init_std = 0.07;
  config.model.layer.norm = domain::Norm::kNone;
  config.model.layer.reparam = domain::Reparam::kSpectralNorm;
  config.model.layer.reparam_targets = {domain::LinearName::kQ, domain::LinearName::kFfnOut};
  config.model.layers[3] = config.model.layer;
  config.model.layers[3].activation = domain::Activation::kRelu;
  config.train.lr = 3e-3;
  config.train.seed = 18446744073709551615u;
  config.resources.ranks_per_machine = 2;
  return config;
}

TEST(RunConfigJson, CanonicalFormHoldsOnlyWhatDiffers) {
  RunConfig config;
  config.dataset = {"code", "abc"};
  EXPECT_EQ(ToCanonicalJson(config), R"({"dataset":{"hash":"abc","name":"code"},"version":1})");
  config.train.lr = 0.003;
  config.model.n_layer = 6;
  EXPECT_EQ(ToCanonicalJson(config),
            R"({"dataset":{"hash":"abc","name":"code"},"model":{"n_layer":6},"train":{"lr":0.003},"version":1})");
}

TEST(RunConfigJson, RoundTripsExactly) {
  const RunConfig config = SampleConfig();
  const std::string json = ToCanonicalJson(config);
  const auto parsed = ParseRunConfig(json);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, config);
  EXPECT_EQ(ToCanonicalJson(*parsed), json);
}

TEST(RunConfigJson, KeepsEveryBitOfANumber) {
  RunConfig config = SampleConfig();
  config.train.lr = 0.1 + 0.2;
  config.train.eps = 5e-324;
  const auto parsed = ParseRunConfig(ToCanonicalJson(config));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->train.lr, 0.1 + 0.2);
  EXPECT_EQ(parsed->train.eps, 5e-324);
}

TEST(RunConfigJson, ACellIsItsContentNotItsName) {
  RunConfig config = SampleConfig();
  const CellId cell = MakeCellId(ToCanonicalJson(config));
  EXPECT_EQ(cell.value().size(), 32u);
  config.dataset.name = "renamed";
  EXPECT_EQ(MakeCellId(ToCanonicalJson(config)), cell);
  config.dataset.hash = "other";
  EXPECT_NE(MakeCellId(ToCanonicalJson(config)), cell);
}

TEST(RunConfigJson, NamesTheFirstBadField) {
  const auto error = [](std::string_view json) { return std::string(ParseRunConfig(json).status().message()); };
  EXPECT_THAT(error("{"), HasSubstr("not JSON"));
  EXPECT_THAT(error("{}"), HasSubstr("/version: is missing"));
  EXPECT_THAT(error(R"({"version":2})"), HasSubstr("/version"));
  EXPECT_THAT(error(R"({"version":1,"train":{"learning_rate":1}})"), HasSubstr("/train/learning_rate: unknown field"));
  EXPECT_THAT(error(R"({"version":1,"train":{"steps":1.5}})"), HasSubstr("/train/steps: must be an integer"));
  EXPECT_THAT(error(R"({"version":1,"train":{"steps":0}})"), HasSubstr("/train/steps: must be at least 1"));
  EXPECT_THAT(error(R"({"version":1,"model":{"norm":"rms"}})"), HasSubstr("must be one of: layernorm, none; is rms"));
  EXPECT_THAT(error(R"({"version":1,"model":{"n_head":5}})"), HasSubstr("/model/n_head must divide"));
  EXPECT_THAT(error(R"({"version":1,"model":{"layers":{"4-2":{}}}})"), HasSubstr("/model/layers/4-2"));
  EXPECT_THAT(error(R"({"version":1,"model":{"layers":{"0-2":{},"2":{}}}})"), HasSubstr("names layer 2 again"));
  EXPECT_THAT(error(R"({"version":1,"model":{"layers":{"12":{"norm":"none"}}}})"), HasSubstr("names layer 12"));
}

TEST(RunConfigJson, LayerRangesBuildOnTheFlatSettings) {
  const auto model = ParseModelJson(R"({"norm":"none","ffn":"fused","reparam":"weight_norm","reparam_targets":["ffn"],
      "layers":{"0-1":{"norm":"layernorm"},"3":{"ffn":"two","activation":"relu"}}})");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->layer.reparam_targets, std::set{domain::LinearName::kFfnIn});
  EXPECT_EQ(model->Layer(0).norm, domain::Norm::kLayerNorm);
  EXPECT_EQ(model->Layer(1).ffn, domain::Ffn::kFused);
  EXPECT_EQ(model->Layer(2).norm, domain::Norm::kNone);
  EXPECT_EQ(model->Layer(3).activation, domain::Activation::kRelu);
  const auto again = ParseModelJson(ModelToJson(*model));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*again, *model);
}

TEST(RunConfigJson, ReadsTheModelOfEveryNumericalCase) {
  int cases = 0;
  for (const auto& folder : std::filesystem::directory_iterator(ENTRAIN_FIXTURES)) {
    const auto text = ReadFile(folder.path() / "config.json");
    if (!text.ok()) continue;
    const std::string model_json = nlohmann::json::parse(*text)["model"].dump();
    const auto model = ParseModelJson(model_json);
    ASSERT_TRUE(model.ok()) << folder.path() << ": " << model.status();
    const auto again = ParseModelJson(ModelToJson(*model));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(*again, *model);
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

}  // namespace
}  // namespace entrain::sweep
