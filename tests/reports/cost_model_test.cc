// Paper: arXiv 2501.03489, the tables of private-inference cost (restated in docs/private-inference-cost.md).
#include "reports/cost_model.h"

#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "base/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace entrain::reports {
namespace {

using ::testing::HasSubstr;

double Bytes(PrivateOperation operation) { return Coefficients()[static_cast<std::size_t>(operation)].bytes_per_unit; }
double Compute(PrivateOperation operation) { return Coefficients()[static_cast<std::size_t>(operation)].compute_seconds_per_unit; }
double Rounds(PrivateOperation operation) { return Coefficients()[static_cast<std::size_t>(operation)].rounds_per_use; }

const PaperRow& Row(std::int64_t n_layer, std::int64_t context, std::string_view variant) {
  for (const PaperRow& row : PaperRows()) {
    if (row.n_layer == n_layer && row.context == context && row.variant == variant) return row;
  }
  std::abort();
}
double Gb(std::int64_t n_layer, std::int64_t context, std::string_view variant) {
  return Row(n_layer, context, variant).communication_gb;
}
double Seconds(std::int64_t n_layer, std::int64_t context, std::string_view variant) {
  return Row(n_layer, context, variant).latency_minutes * 60;
}

constexpr double kWidth = 768;
constexpr double kInner = 3072;
constexpr double kHeads = 12;
const Network kNetwork;
const double kBytesPerSecond = kNetwork.bandwidth_bits_per_second / 8;

TEST(CostModelTest, MeetsEveryRow) {
  for (const PaperRow& row : PaperRows()) {
    const InferenceCost cost = PrivateInferenceCost(PaperModel(row), row.context);
    const double tolerance = row.calibration ? 0.001 : 0.05;
    EXPECT_NEAR(cost.communication_gb / row.communication_gb, 1.0, tolerance) << row.variant << row.n_layer << " " << row.context;
    EXPECT_NEAR(cost.latency_minutes / row.latency_minutes, 1.0, row.calibration ? 0.001 : 0.10)
        << row.variant << row.n_layer << " " << row.context;
  }
}

// Only these may be fitted to: the L=12 rows of T=128 and T=256, and L=18 of SM+LN+R.
TEST(CostModelTest, OnlySevenRowsAreCalibration) {
  for (const PaperRow& row : PaperRows()) {
    const bool allowed = (row.n_layer == 12 && row.context <= 256) || (row.n_layer == 18 && row.variant == "SM+LN+R");
    EXPECT_EQ(row.calibration, allowed) << row.variant << row.n_layer;
  }
}

// The derivation of the document, step by step, from the calibration rows alone.
TEST(CostModelTest, BytesFollowFromTheCalibrationRows) {
  const double gelu_minus_relu =
      ((Gb(12, 128, "SM+LN+G") - Gb(12, 128, "SM+LN+R")) / 128 + (Gb(12, 256, "SM+LN+G") - Gb(12, 256, "SM+LN+R")) / 256) / 2 *
      1e9 / 12 / kInner;
  const double relu_norm_ffn =
      ((Gb(12, 128, "SM+LN+R") - Gb(12, 128, "SM+ScFuFFN")) / 128 + (Gb(12, 256, "SM+LN+R") - Gb(12, 256, "SM+ScFuFFN")) / 256) /
      2 * 1e9 / 12;
  const double layer_128 = (Gb(18, 128, "SM+LN+R") - Gb(12, 128, "SM+LN+R")) * 1e9 / 6;
  const double output_128 = Gb(12, 128, "SM+LN+R") * 1e9 - 12 * layer_128;
  const double fused_128 = layer_128 - 128 * relu_norm_ffn;
  const double fused_256 = ((Gb(12, 256, "SM+ScFuFFN") + Gb(12, 256, "SM+LN+R")) * 1e9 - 4 * output_128) / 24 - 128 * relu_norm_ffn;
  const double per_square = (fused_256 - 2 * fused_128) / (2 * 128.0 * 128.0);
  const double per_token = fused_128 / 128 - per_square * 128;
  const double linear = per_token / (10 * kWidth);
  const double shared = (relu_norm_ffn - 8 * kWidth * linear) / (2 * kWidth + kInner);
  EXPECT_NEAR(Bytes(PrivateOperation::kEmbeddingAndOutput), output_128 / 128 / 50257, 1e-2);
  EXPECT_NEAR(Bytes(PrivateOperation::kSoftmax), per_square / kHeads, 1e-2);
  EXPECT_NEAR(Bytes(PrivateOperation::kAttentionLinears), linear, 1e-3);
  EXPECT_NEAR(Bytes(PrivateOperation::kFfnLinears), linear, 1e-3);
  EXPECT_NEAR(Bytes(PrivateOperation::kRelu), shared, 1e-2);
  EXPECT_NEAR(Bytes(PrivateOperation::kLayerNorm), shared, 1e-2);
  EXPECT_NEAR(Bytes(PrivateOperation::kGelu), gelu_minus_relu + shared, 1e-1);
}

TEST(CostModelTest, TimesFollowFromTheCalibrationRows) {
  const double rtt = kNetwork.round_trip_seconds;
  const double gelu_128 = Seconds(12, 128, "SM+LN+G") - Seconds(12, 128, "SM+LN+R");
  const double gelu_256 = Seconds(12, 256, "SM+LN+G") - Seconds(12, 256, "SM+LN+R");
  const double gelu_token = (gelu_256 - gelu_128) / 128 / 12;
  EXPECT_NEAR(kBytesPerSecond / ((Bytes(PrivateOperation::kGelu) - Bytes(PrivateOperation::kRelu)) * kInner / gelu_token), 1, 1e-3);
  EXPECT_NEAR(Rounds(PrivateOperation::kGelu) - Rounds(PrivateOperation::kRelu), (gelu_128 / 12 - 128 * gelu_token) / rtt, 1e-2);
  const double rest_128 = Seconds(12, 128, "SM+LN+R") - Seconds(12, 128, "SM+ScFuFFN");
  const double rest_256 = Seconds(12, 256, "SM+LN+R") - Seconds(12, 256, "SM+ScFuFFN");
  const double rest_token = (rest_256 - rest_128) / 128 / 12;
  const double rest_rounds = (rest_128 / 12 - 128 * rest_token) / rtt;
  EXPECT_NEAR(Rounds(PrivateOperation::kRelu) + 2 * Rounds(PrivateOperation::kLayerNorm), rest_rounds, 1e-2);
  EXPECT_DOUBLE_EQ(Rounds(PrivateOperation::kSoftmax), Rounds(PrivateOperation::kGelu) + Rounds(PrivateOperation::kLayerNorm));
  const double rest_bytes = Bytes(PrivateOperation::kRelu) * (kInner + 2 * kWidth) + 8 * kWidth * Bytes(PrivateOperation::kFfnLinears);
  EXPECT_NEAR(Compute(PrivateOperation::kFfnLinears) * 7 * kWidth * kWidth / (rest_token - rest_bytes / kBytesPerSecond), 1, 1e-3);
}

TEST(CostModelTest, NothingThatFoldsIntoWeightsCosts) {
  const PaperRow& row = Row(12, 128, "SM+ScFuFFN");
  domain::ModelConfig model = PaperModel(row);
  const double plain = PrivateInferenceCost(model, 128).communication_gb;
  model.layer.temperature = domain::Temperature::kDivide;
  model.reg = domain::Regulariser::kMean;
  model.layer.reparam = domain::Reparam::kSpectralNorm;
  model.layer.reparam_targets = {domain::LinearName::kQ};
  EXPECT_DOUBLE_EQ(PrivateInferenceCost(model, 128).communication_gb, plain);
}

TEST(CostModelTest, CountsLayerByLayer) {
  domain::ModelConfig model = PaperModel(Row(12, 128, "SM+LN+G"));
  const double all = PrivateInferenceCost(model, 128).communication_gb;
  domain::LayerConfig without = model.layer;
  without.activation = domain::Activation::kIdentity;
  model.layers[3] = without;
  const double one_less = PrivateInferenceCost(model, 128).communication_gb;
  EXPECT_NEAR(all - one_less, 128 * kInner * Bytes(PrivateOperation::kGelu) / 1e9, 1e-9);
}

TEST(CostModelTest, ASlowerNetworkCostsTime) {
  const PaperRow& row = Row(12, 128, "SM+LN+G");
  const InferenceCost near = PrivateInferenceCost(PaperModel(row), 128);
  const InferenceCost slow = PrivateInferenceCost(PaperModel(row), 128, {.bandwidth_bits_per_second = 1e8, .round_trip_seconds = 0.08});
  EXPECT_DOUBLE_EQ(slow.communication_gb, near.communication_gb);
  // What the document says of 100 Mbit/s: the bytes alone take longer than the published latency.
  EXPECT_GT(slow.latency_minutes, 25.32e9 * 8 / 1e8 / 60);
  EXPECT_GT(slow.latency_minutes, 4 * row.latency_minutes);
  const InferenceCost far = PrivateInferenceCost(PaperModel(row), 128, {.round_trip_seconds = 0.16});
  double round_trips = 0;
  for (const CostItem& item : near.items) round_trips += item.round_trips;
  EXPECT_NEAR(far.latency_minutes - near.latency_minutes, round_trips * 0.08 / 60, 1e-9);
}

TEST(CostModelTest, TextAndJsonAddUp) {
  const InferenceCost cost = PrivateInferenceCost(PaperModel(Row(12, 128, "SM+LN+G")), 128);
  EXPECT_THAT(CostText(cost), HasSubstr("GELU"));
  EXPECT_THAT(CostText(cost), HasSubstr("25.32"));
  const auto json = nlohmann::json::parse(CostJson(cost));
  double bytes = 0;
  for (const auto& item : json["operations"]) bytes += item["communication_bytes"].get<double>();
  EXPECT_NEAR(bytes / 1e9, json["communication_gb"].get<double>(), 1e-9);
}

// The residuals that docs/private-inference-cost.md prints.
TEST(CostModelTest, TheDocumentPrintsTheseResiduals) {
  const auto page = ReadFile(std::string(ENTRAIN_SOURCE_DIR) + "/docs/private-inference-cost.md");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_NE(page->find(ResidualsMarkdown()), std::string::npos) << ResidualsMarkdown();
}

}  // namespace
}  // namespace entrain::reports
