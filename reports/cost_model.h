// What one private inference of a model costs: two parties, semi-honest, one token generated from a full context. An explicit count
// of operations times a coefficient each; docs/private-inference-cost.md derives every coefficient and prints its residuals.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "domain/model_config.h"

namespace entrain::reports {

// The link between the parties.
struct Network {
  // What the published latencies imply, not what their text states (100 Mbit/s could not move their bytes in their time).
  double bandwidth_bits_per_second = 1.15738e9;
  double round_trip_seconds = 0.080;
};

enum class PrivateOperation {
  kAttentionLinears,  // q, k, v and output projections
  kSoftmax,           // with the products around it
  kLayerNorm,
  kGelu,
  kRelu,
  kFfnLinears,
  kEmbeddingAndOutput,
};
inline constexpr int kPrivateOperations = 7;

struct Coefficient {
  PrivateOperation operation;
  std::string_view name;  // "GELU"
  std::string_view unit;  // what is counted for the bytes
  double bytes_per_unit;
  // Round trips of one layer's use; operations of a layer follow one another.
  double rounds_per_use;
  std::string_view compute_unit;
  double compute_seconds_per_unit;
  std::string_view source;  // protocol count or the rows it was fitted to
};
std::span<const Coefficient> Coefficients();

struct CostItem {
  PrivateOperation operation;
  double units = 0;          // of Coefficient::unit
  double uses = 0;           // sequential uses: layers, or two a layer
  double compute_units = 0;  // of Coefficient::compute_unit
  double communication_bytes = 0;
  double round_trips = 0;
  double latency_seconds = 0;
};

struct InferenceCost {
  std::vector<CostItem> items;  // every operation, in the order of the enumeration
  double communication_gb = 0;  // 1e9 bytes
  double latency_minutes = 0;
};

// The model is valid (domain::Validate) and `context` positive. Temperatures, scales, reparametrised weights and the regulariser cost
// nothing: they fold into weights before inference.
InferenceCost PrivateInferenceCost(const domain::ModelConfig& model, std::int64_t context, const Network& network = {});

// A table by operation with shares and the total.
std::string CostText(const InferenceCost& cost);
std::string CostJson(const InferenceCost& cost);

// One row of the paper's table, and the model that it is about. EReg(SM(t)+ScFuFFN) rows repeat SM+ScFuFFN's cost.
struct PaperRow {
  std::string_view variant;
  std::int64_t n_layer;
  std::int64_t context;
  std::int64_t vocab_size;
  double communication_gb;
  double latency_minutes;
  bool calibration;  // coefficients were fitted to it
};
std::span<const PaperRow> PaperRows();
domain::ModelConfig PaperModel(const PaperRow& row);
// Measured, modelled and relative error of every row.
std::string ResidualsMarkdown();

}  // namespace entrain::reports
