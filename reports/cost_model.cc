#include "reports/cost_model.h"

#include <array>

#include "base/check.h"

namespace entrain::reports {
namespace {

using enum PrivateOperation;
using domain::Activation;
using domain::Ffn;
using domain::LayerConfig;
using domain::ModelConfig;
using domain::Norm;

constexpr std::string_view kShareRows = "L=12 T=128, T=256 rows: LN+R minus ScFuFFN; split by count";
constexpr std::array<Coefficient, kPrivateOperations> kCoefficients = {{
    {kAttentionLinears, "attention linears", "element in or out", 73.4329, 0, "multiplication", 1.82738e-8,
     "L=12 T=128, T=256 rows of ScFuFFN: what grows with T"},
    {kSoftmax, "softmax", "score (H T T)", 1664.16, 38.375, "score (H T T)", 8.12999e-6,
     "L=12 T=128, T=256 rows of ScFuFFN: what grows with T^2; rounds: GELU's and LayerNorm's"},
    {kLayerNorm, "LayerNorm", "element", 327.004, 10.375, "element", 0, kShareRows},
    {kGelu, "GELU", "element", 3693.47, 28, "element", 0, "L=12 T=128, T=256 rows: LN+G minus LN+R, plus ReLU"},
    {kRelu, "ReLU", "element", 327.004, 8, "element", 0,
     "rounds: 64-bit comparison (1 transfer, 4 tree levels, 1 conversion) and multiplexer (2); bytes as LayerNorm"},
    {kFfnLinears, "FFN linears", "element in or out", 73.4329, 0, "multiplication", 4.66929e-9,
     "bytes as attention linears; time: L=12 rows, LN+R minus ScFuFFN"},
    {kEmbeddingAndOutput, "embedding and output", "token and vocabulary entry (T V)", 254.940, 0,
     "token and vocabulary entry (T V)", 1.78246e-5, "L=18 T=128 LN+R minus L=12 T=128 LN+R: what no layer explains"},
}};

constexpr bool InOrder() {
  for (std::size_t i = 0; i < kCoefficients.size(); ++i) {
    if (static_cast<std::size_t>(kCoefficients[i].operation) != i) return false;
  }
  return true;
}
static_assert(InOrder());

class Counter {
 public:
  void Add(PrivateOperation operation, double units, double uses, double compute_units) {
    CostItem& item = items_[static_cast<std::size_t>(operation)];
    item.units += units;
    item.uses += uses;
    item.compute_units += compute_units;
  }
  const std::array<CostItem, kPrivateOperations>& items() const { return items_; }

 private:
  std::array<CostItem, kPrivateOperations> items_{};
};

struct Sizes {
  double tokens;
  double width;
  double inner;
  double heads;
};

void CountFfn(const LayerConfig& layer, const Sizes& sizes, Counter* counter) {
  const auto [tokens, width, inner, heads] = sizes;
  if (layer.ffn == Ffn::kFused) {
    counter->Add(kFfnLinears, tokens * 2 * width, 1, tokens * width * width);
    return;
  }
  counter->Add(kFfnLinears, tokens * 2 * (width + inner), 1, tokens * 2 * width * inner);
  switch (layer.activation) {
    case Activation::kGelu:
    case Activation::kGeluNew:
      counter->Add(kGelu, tokens * inner, 1, tokens * inner);
      break;
    // A leaky slope multiplies a value whose sign is already known: no further protocol.
    case Activation::kRelu:
    case Activation::kLeakyRelu:
      counter->Add(kRelu, tokens * inner, 1, tokens * inner);
      break;
    case Activation::kIdentity:
      break;
  }
}

void CountLayer(const LayerConfig& layer, const Sizes& sizes, Counter* counter) {
  const auto [tokens, width, inner, heads] = sizes;
  counter->Add(kAttentionLinears, tokens * 8 * width, 1, tokens * 4 * width * width);
  counter->Add(kSoftmax, heads * tokens * tokens, 1, heads * tokens * tokens);
  if (layer.norm == Norm::kLayerNorm) counter->Add(kLayerNorm, tokens * 2 * width, 2, tokens * 2 * width);
  CountFfn(layer, sizes, counter);
}

CostItem Priced(CostItem item, const Coefficient& coefficient, const Network& network) {
  item.operation = coefficient.operation;
  item.communication_bytes = item.units * coefficient.bytes_per_unit;
  item.round_trips = item.uses * coefficient.rounds_per_use;
  item.latency_seconds = item.round_trips * network.round_trip_seconds +
                         item.communication_bytes * 8.0 / network.bandwidth_bits_per_second +
                         item.compute_units * coefficient.compute_seconds_per_unit;
  return item;
}

}  // namespace

std::span<const Coefficient> Coefficients() { return kCoefficients; }

InferenceCost PrivateInferenceCost(const ModelConfig& model, std::int64_t context, const Network& network) {
  ENTRAIN_CHECK(network.bandwidth_bits_per_second > 0);
  const Sizes sizes{static_cast<double>(context), static_cast<double>(model.n_embd),
                    static_cast<double>(model.InnerWidth()), static_cast<double>(model.n_head)};
  Counter counter;
  for (std::int64_t layer = 0; layer < model.n_layer; ++layer) CountLayer(model.Layer(layer), sizes, &counter);
  const double entries = sizes.tokens * static_cast<double>(model.vocab_size);
  // The rows that it is fitted to have d = 768; the multiplications grow with the width, the bytes with the vocabulary.
  counter.Add(kEmbeddingAndOutput, entries, 1, entries * sizes.width / 768.0);
  InferenceCost cost;
  for (std::size_t i = 0; i < kCoefficients.size(); ++i) {
    cost.items.push_back(Priced(counter.items()[i], kCoefficients[i], network));
    cost.communication_gb += cost.items.back().communication_bytes / 1e9;
    cost.latency_minutes += cost.items.back().latency_seconds / 60.0;
  }
  return cost;
}

}  // namespace entrain::reports
