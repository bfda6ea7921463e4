// Causal softmax attention that returns the Shannon entropy of every row's weights and back-propagates through it.
//
// With s the scaled scores of row i, m their maximum, l = sum_j exp(s_j - m) and A = sum_j exp(s_j - m) (s_j - m):
//     H = ln l - A / l         (nats; every term is shifted, so collapsed rows and huge scores keep their digits)
//     dS = p (dP - D - g (ln p + H)),  dP = dO v^T,  D = sum_j p_j dP_j,  g = dLoss/dH
// m and ln l are kept apart and never added: at scores of 1e6 their sum has no digits left for ln l. docs/kernel.md has the algorithm,
// its errors and its speed.
//
// Callers use EntropyAttention or EntropyAttentionPacked, Python the operator torch.ops.entrain.entropy_attention (operator.cc).
//
// A back end plugs in with one AttentionBackend: a function that returns it is declared in backends.h and listed in AttentionBackends(),
// fastest first. It promises: `supports` is cheap and reads no numbers; outputs and gradients are allocated by the caller and written
// whole; arithmetic is at least float32; forward and backward compute the very same scores, and D = rowsum(dO O) is summed in the order
// of dP, so that a row with one weight of 1 has dS = 0 exactly; with `deterministic` the same bits come out of every call. The table of
// tests/model/attention_cases.h then holds it against the others.
//
// Shape suffixes: B batch, T queries and keys, H heads, D head width.
#pragma once

#include <torch/types.h>

#include <string>
#include <string_view>
#include <vector>

namespace entrain::kernels {

// Tensors may be strided in any way as long as the D numbers of a row are adjacent.
struct AttentionInputs {
  torch::Tensor q_BHTD;
  torch::Tensor k_BHTD;
  torch::Tensor v_BHTD;
  double scale = 1.0;
  bool causal = true;
  // Whether backward must give the same bits every time. The CPU back ends always do, with any number of threads.
  bool deterministic = false;
};

// Allocated by the caller, written by a back end; out has the inputs' type and may be strided like them, the others are contiguous and
// of StatisticsType.
struct AttentionOutputs {
  torch::Tensor out_BHTD;
  // Undefined: not wanted; a back end then runs its code compiled without it.
  torch::Tensor entropy_BHT;
  torch::Tensor row_max_BHT;
  torch::Tensor log_sum_BHT;
  // Largest |score| of every head over the entries that take part, after scaling.
  torch::Tensor max_abs_score_BH;
};

// d_out or d_entropy may be undefined (no gradient comes from there), not both. Without d_entropy a back end runs its code compiled
// without entropy.
struct AttentionOutputGradients {
  torch::Tensor d_out_BHTD;
  torch::Tensor d_entropy_BHT;
};

// Allocated by the caller, overwritten by a back end; strided like the inputs.
struct AttentionInputGradients {
  torch::Tensor dq_BHTD;
  torch::Tensor dk_BHTD;
  torch::Tensor dv_BHTD;
};

// One implementation. All of them share this signature, and the equality tests run over all that support an input.
struct AttentionBackend {
  std::string_view name;
  bool (*supports)(const AttentionInputs& inputs);
  void (*forward)(const AttentionInputs& inputs, AttentionOutputs& outputs);
  void (*backward)(const AttentionInputs& inputs, const AttentionOutputs& outputs,
                   const AttentionOutputGradients& output_gradients, AttentionInputGradients& gradients);
};

// float32 for the reduced types, else the inputs' own.
torch::Dtype StatisticsType(torch::Dtype inputs);

// Every back end of this build, fastest first. "loops" (plain loops in double precision, the oracle of the tests) is the last and never
// chosen by itself.
const std::vector<const AttentionBackend*>& AttentionBackends();
// The named back end, or with an empty name the first that supports the inputs. Null when there is none. On the CPU the environment
// variable ENTRAIN_CPU_ISA (avx512, avx2 or reference) narrows the choice of an empty name; an error says why a path cannot run here.
const AttentionBackend* FindAttentionBackend(std::string_view name, const AttentionInputs& inputs);

struct AttentionOptions {
  // 0 means 1 / sqrt(D).
  double scale = 0.0;
  bool causal = true;
  // False: entropy is not computed at all (the result's is undefined), which shows what it costs.
  bool entropy = true;
  // Whether a gradient may arrive through the entropy.
  bool differentiable_entropy = true;
  // Backward gives the same bits every time. The CPU back ends always do; others may be slower then.
  bool deterministic = false;
  // Empty: the fastest that supports the inputs.
  std::string backend;
};

struct AttentionResult {
  torch::Tensor out;               // [B,H,T,D], or [B,T,H,D] from the packed form
  torch::Tensor entropy_BHT;
  torch::Tensor max_abs_score_BH;  // no gradient
};

AttentionResult EntropyAttention(const torch::Tensor& q_BHTD, const torch::Tensor& k_BHTD, const torch::Tensor& v_BHTD,
                                 const AttentionOptions& options = {});

// The same on a joint projection, so that its gradient is written in one piece. query_scale_HT, if defined, multiplies the scores of
// query i of head h (a learnable temperature) and has a gradient.
AttentionResult EntropyAttentionPacked(const torch::Tensor& qkv_BT3HD, const torch::Tensor& query_scale_HT,
                                       const AttentionOptions& options = {});

// -sum_j p_j ln(p_j + eps) of every row [B,H,T] (paper, Eq. 7), differentiable. Holds the T x T weights; it serves the summed forms of the
// regulariser, which are defined by this epsilon.
torch::Tensor EpsilonEntropy(const torch::Tensor& q_BHTD, const torch::Tensor& k_BHTD, double scale, double eps);

}  // namespace entrain::kernels
