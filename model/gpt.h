// The GPT-2 family of domain::ModelConfig as one module. Knows nothing of ranks.
//
// Shape suffixes: B batch, T tokens of a sequence, L layers, H heads, D head width, C width (n_embd), V vocabulary.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "domain/model_config.h"

namespace entrain::model {

// What Backward() does with gradients that are there already, and with the loss.
struct BackwardOptions {
  // Adds to the parameters' .grad instead of overwriting it: every micro-batch of a step but the first.
  bool accumulate = false;
  // The gradients are those of total * loss_scale.
  double loss_scale = 1.0;
};

struct ForwardOptions {
  // Training mode runs the power iteration of spectral norm and updates its buffers.
  bool training = true;
  // Type in which matrices are multiplied: bfloat16 or float16 beside float32 parameters. The residual stream, norms, attention with its
  // entropies, and the loss stay in the parameters' type. Unset: the parameters' type.
  std::optional<torch::Dtype> arithmetic;
  // False leaves the entropy out of attention, for measuring what it costs: entropy_LH is 0. Only without a regulariser, and only in the
  // pass without autograd.
  bool measure_entropy = true;
  // Keep logits in the result (they are B*T*V numbers).
  bool keep_logits = false;
  // Keep the entropy of every query [L,B,H,T] in the result.
  bool keep_query_entropy = false;
  // Compute and keep the entropy with the epsilon of the paper's Eq. 7.
  bool keep_eps_entropy = false;
  // Mean over the ranks of a gang, for the regulariser's mean form: it acts on the entropy of the whole batch. Identity for one rank.
  std::function<torch::Tensor(const torch::Tensor&)> mean_over_ranks;
  // The share of the whole batch that this rank holds (1 / world size); the summed forms are scaled so that averaging gradients over
  // ranks gives the sum over the whole batch.
  double batch_share = 1.0;
  // Backward() will follow. Where the architecture allows, the pass then leaves out autograd and writes its gradients itself: total has no
  // graph, and the output matrix's share of its gradient is there when Forward() returns.
  std::optional<BackwardOptions> backward;
};

struct ForwardOutput {
  torch::Tensor total;        // [] ce + lambda * reg, differentiable
  torch::Tensor ce;           // [] mean over counted labels, nats
  torch::Tensor reg;          // [] the configured form, not multiplied by lambda; 0 when none
  torch::Tensor entropy_LH;   // [L,H] mean over batch and queries, nats, no gradient
  torch::Tensor max_abs_score_L;  // [L] no gradient
  torch::Tensor logits_BTV;   // only if keep_logits
  torch::Tensor entropy_LBHT;  // only if keep_query_entropy, no gradient
  torch::Tensor entropy_eps_LBHT;  // only if keep_eps_entropy, no gradient
};

class Gpt : public torch::nn::Module {
 public:
  // The config must be valid. Parameters hold the seeded initialisation: every weight matrix N(0, init_std), the projections into the
  // residual stream included, as the authors' code has it (their blocks replace GPT-2's and with them its 1/sqrt(2L)). A parameter's
  // values are a pure function of (seed, its name), drawn on the CPU and copied to the device, so that every device starts equal.
  Gpt(const domain::ModelConfig& config, std::uint64_t seed, torch::Dtype dtype = torch::kFloat32,
      torch::Device device = torch::kCPU);
  ~Gpt() override;

  // tokens and labels: int64 [B,T] on the model's device; labels already shifted, -100 is not counted. Labels may be undefined: then total, ce are.
  // Without gradients (torch::NoGradGuard) and with labels the logits of all rows are never held, where the architecture allows.
  ForwardOutput Forward(const torch::Tensor& tokens_BT, const torch::Tensor& labels_BT, const ForwardOptions& options);

  // The gradients of the last Forward(), which was given options.backward, in every parameter's .grad. A parameter's post-accumulation hook
  // runs when its gradient is complete. Nothing is read back to the host.
  void Backward(const ForwardOutput& output);
  // Copies of parameters, by name, in the type in which matrices are multiplied; whoever updates the parameters keeps them up to date. The
  // pass without autograd takes weights from them instead of converting its own.
  void UseComputeCopies(const std::vector<std::pair<std::string, torch::Tensor>>& copies);

  const domain::ModelConfig& config() const;
  // Trainable parameters under their Hugging Face GPT-2 names ("transformer.wte.weight", ...), in a fixed order.
  const std::vector<std::pair<std::string, torch::Tensor>>& NamedParameters() const;
  // State that is not trained: spectral-norm vectors, and thresholds, alpha and beta where the config fixes them.
  const std::vector<std::pair<std::string, torch::Tensor>>& NamedState() const;
  // Sets weight-norm gains to the raw weights' norms and spectral vectors to the raw weights' leading ones: after raw weights were loaded
  // that had no reparametrisation, the model computes what they say (weight norm), or divides by their norms (spectral norm).
  void Reparametrise();
  // Thresholds theta of the regulariser [L,H], or undefined when there are none.
  torch::Tensor Theta() const;

  struct Impl;  // for this room

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace entrain::model
