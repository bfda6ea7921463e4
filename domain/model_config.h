// The architectures of Jha & Reagen, "Entropy-Guided Attention for Private LLMs" (arXiv 2501.03489): a decoder-only, pre-LN GPT-2
// whose nonlinearities can be taken away, and the options that keep it trainable without them.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "absl/status/status.h"

namespace entrain::domain {

enum class Norm { kLayerNorm, kNone };
enum class Activation { kGelu, kGeluNew, kRelu, kIdentity, kLeakyRelu };
// Where a leaky ReLU's slope comes from: a constant, one learnable value a layer, or one for the network.
enum class LeakyMode { kFixed, kLayer, kGlobal };
// kAll: every linear has a bias (GPT-2). kQk: only the query and key projections (the authors' norm-free code). kNone: none.
enum class Bias { kAll, kQk, kNone };
// kTwo: d -> inner -> d with an activation. kFused: one d -> d linear (paper: ScFuFFN with ffn_scale).
enum class Ffn { kTwo, kFused };
enum class Reparam { kNone, kWeightNorm, kSpectralNorm };
enum class LinearName { kQ, kK, kV, kO, kFfnIn, kFfnOut };
// How the learnable temperature t[h,i] acts on the scores: s/t, or s*t.
enum class Temperature { kNone, kDivide, kMultiply };
// The forms of the entropy regulariser in circulation; docs/GLOSSARY.md has the formulas.
enum class Regulariser { kNone, kMean, kMeanSeq, kSum, kAuthors };

// What may differ from layer to layer.
struct LayerConfig {
  Norm norm = Norm::kLayerNorm;
  Activation activation = Activation::kGelu;
  LeakyMode leaky_mode = LeakyMode::kFixed;
  double leaky_slope = 0.01;
  Bias bias = Bias::kAll;
  Ffn ffn = Ffn::kTwo;
  // X_out = beta * X_SA + FFN(X_SA) / alpha, alpha and beta scalars of the layer.
  bool ffn_scale = false;
  bool ffn_scale_learnable = true;
  double alpha_init = 1.0;
  double beta_init = 1.0;
  Reparam reparam = Reparam::kNone;
  std::set<LinearName> reparam_targets;
  Temperature temperature = Temperature::kNone;
  double temperature_init = 1.0;
  double theta_init = 0.5;

  friend bool operator==(const LayerConfig&, const LayerConfig&) = default;
};

struct ModelConfig {
  std::int64_t vocab_size = 256;
  // Rows of the position table; the training context is at most this.
  std::int64_t n_positions = 128;
  std::int64_t n_layer = 12;
  std::int64_t n_head = 12;
  std::int64_t n_embd = 768;
  // 0 means 4 * n_embd.
  std::int64_t n_inner = 0;
  bool final_norm = true;
  double ln_eps = 1e-5;
  double init_std = 0.02;
  // Regulariser (paper, Algorithm 1): total loss = cross-entropy + reg_lambda * reg.
  Regulariser reg = Regulariser::kNone;
  double reg_lambda = 1e-5;
  // Tolerance as a fraction of E_max; the penalty is zero inside the band.
  double reg_gamma = 0.2;
  bool theta_learnable = true;
  // The epsilon inside the logarithm of the `sum` and `authors` forms.
  double reg_eps = 1e-9;
  // E_max = ln(context), or ln(emax_context) when not 0.
  std::int64_t emax_context = 0;
  // Settings of every layer that `layers` does not name.
  LayerConfig layer;
  std::map<std::int64_t, LayerConfig> layers;

  const LayerConfig& Layer(std::int64_t index) const;
  std::int64_t InnerWidth() const { return n_inner == 0 ? 4 * n_embd : n_inner; }
  std::int64_t HeadWidth() const { return n_embd / n_head; }

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

// The first thing wrong with the numbers (sizes positive, heads divide the width, layer indices exist, ...), naming the field.
absl::Status Validate(const ModelConfig& config);

// Trainable parameters, tied output matrix counted once.
std::int64_t ParameterCount(const ModelConfig& config);

// ln(T!)/T in nats: the largest mean entropy that a causal head can reach over T queries. 0 for T = 1.
double EntropyBoundNats(std::int64_t context);

}  // namespace entrain::domain
