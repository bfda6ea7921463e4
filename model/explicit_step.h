// The forward and backward pass of a training step, or the forward pass of an evaluation, written out. Autograd is left to the few small functions whose gradients are rules of
// their own (reparametrised weights, temperatures, the regulariser); everything else writes into tensors that live as long as the module: no
// temporaries, no gradient that is first zeroed and then added to, nothing that depends on the host between the passes.
//
// Shape suffixes: B batch, T tokens of a sequence, N = B*T rows, L layers, H heads, D head width, C width, Q = 3C, F inner width, V vocabulary.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "model/gpt.h"
#include "model/kernels/entropy_attention.h"
#include "model/kernels/step_kernels.h"
#include "model/linear.h"

namespace entrain::model {

struct Layer;
struct LayerNorm;

class ExplicitStep {
 public:
  // `model` must outlive this.
  explicit ExplicitStep(Gpt::Impl* model) : model_(model) {}

  // Not the forms of the regulariser that are defined by the T x T weights, and no result that only autograd's pass keeps.
  static bool Supports(const domain::ModelConfig& config, const ForwardOptions& options);

  // Without options.backward nothing is kept for gradients: layers take turns with one set of buffers.
  ForwardOutput Forward(const torch::Tensor& tokens_BT, const torch::Tensor& labels_BT, const ForwardOptions& options);
  void Backward();

 private:
  // What a norm takes in: the residual stream so far and what the last linear adds to it.
  struct Stream {
    torch::Tensor residual_NC;
    torch::Tensor delta_NC;  // undefined: nothing
    const Linear* from = nullptr;  // of the delta; its bias is still to be added
  };
  struct NormPass {
    torch::Tensor sum_NC, own_sum_NC, normed_NC, own_normed_NC, mean_N, inverse_deviation_N;
    const Linear* from = nullptr;
  };
  struct LayerPass {
    NormPass norm_1, norm_2;
    torch::Tensor qkv_weight, out_weight, ffn_in_weight, ffn_out_weight;  // as they multiplied
    torch::Tensor qkv_NQ, attention_NC, out_delta_NC;
    kernels::AttentionInputs attention_inputs;
    kernels::AttentionOutputs attention_outputs;
    torch::Tensor query_scale_HT;  // with its graph; undefined without temperatures
    torch::Tensor scaled_q_BTHD, row_max_BHT, log_sum_BHT;
    torch::Tensor hidden_NF, active_NF, ffn_delta_NC, scaled_sum_NC;
  };

  LayerPass& PassOf(std::int64_t index) { return passes_[differentiates_ ? static_cast<std::size_t>(index) : 0]; }
  Stream ForwardLayer(std::int64_t index, const Stream& in);
  void BackwardLayer(std::int64_t index);
  void ForwardNorm(const Stream& in, const LayerNorm& norm, NormPass* pass);
  // d_normed is the gradient of the normed rows; d_sum_NC_ holds what reaches the sum past the norm and then the whole.
  void BackwardNorm(const torch::Tensor& d_normed_NC, const LayerNorm& norm, NormPass* pass);
  void ForwardAttention(std::int64_t index, Layer& layer, LayerPass* pass);
  torch::Tensor BackwardAttention(std::int64_t index, Layer& layer, LayerPass* pass, const torch::Tensor& d_out_NC);
  Stream ForwardFeedForward(Layer& layer, LayerPass* pass);
  torch::Tensor BackwardFeedForward(Layer& layer, LayerPass* pass);
  // The gradient of the scaled form's FFN; d_sum_NC_ becomes that of its residual.
  torch::Tensor BackwardScaling(Layer& layer, LayerPass* pass);
  kernels::BiasActivation Activation(const Layer& layer, const LayerPass& pass) const;
  torch::Tensor SlopeOf(const Layer& layer) const;
  void BackwardActivation(Layer& layer, LayerPass* pass, const torch::Tensor& d_active_NF);
  void AddBias(const Linear& linear, const torch::Tensor& x);
  void BackwardBias(const Linear& linear, const torch::Tensor& d_y);
  // Cross-entropy and, if gradients are wanted, d_final_NC_ and the output matrix's gradient, a block of rows at a time: the logits of all
  // rows are never held.
  torch::Tensor Head(const torch::Tensor& labels_N);
  void BackwardRegulariser();
  void PrepareGradients();
  torch::Tensor InArithmetic(const torch::Tensor& x) const { return x.to(mode_.arithmetic); }

  Gpt::Impl* model_;
  const kernels::StepKernels* kernels_ = nullptr;
  LinearMode mode_;
  bool differentiates_ = true;  // Backward() follows
  BackwardOptions backward_;
  bool measures_entropy_ = true;
  bool slope_is_started_ = false;  // the shared slope's gradient holds a layer's share
  std::int64_t batch_ = 0, tokens_ = 0;
  std::vector<LayerPass> passes_;
  NormPass final_pass_;
  torch::Tensor tokens_N_, embedded_NC_, token_table_VC_;
  torch::Tensor logits_, loss_N_, d_final_NC_;
  torch::Tensor entropy_LBHT_, max_abs_score_LBH_, d_entropy_LBHT_;
  torch::Tensor reg_, entropy_leaf_LBHT_;  // the regulariser and its graph
  torch::Tensor d_sum_NC_, d_delta_NC_, d_normed_NC_, d_attention_NC_, d_qkv_NQ_, d_active_NF_;
};

}  // namespace entrain::model
