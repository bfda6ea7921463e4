#include <algorithm>
#include <cmath>
#include <vector>

#include "model/kernels/backends.h"

namespace entrain::kernels {
namespace {

using torch::Tensor;

// Double-precision copies and the sizes of one call.
struct Problem {
  explicit Problem(const AttentionInputs& inputs)
      : q(Copy(inputs.q_BHTD)), k(Copy(inputs.k_BHTD)), v(Copy(inputs.v_BHTD)), scale(inputs.scale), causal(inputs.causal),
        heads(q.size(0) * q.size(1)), tokens(q.size(2)), width(q.size(3)) {}

  static Tensor Copy(const Tensor& x) { return x.detach().to(torch::kCPU, torch::kFloat64).contiguous(); }

  const double* Row(const Tensor& x, std::int64_t head, std::int64_t token) const {
    return x.const_data_ptr<double>() + (head * tokens + token) * width;
  }
  double* Row(Tensor& x, std::int64_t head, std::int64_t token) const {
    return x.mutable_data_ptr<double>() + (head * tokens + token) * width;
  }
  double Dot(const double* a, const double* b) const {
    double sum = 0.0;
    for (std::int64_t c = 0; c < width; ++c) sum += a[c] * b[c];
    return sum;
  }
  std::int64_t Keys(std::int64_t query) const { return causal ? query + 1 : tokens; }

  Tensor q, k, v;
  double scale;
  bool causal;
  std::int64_t heads, tokens, width;
};

// Softmax of one row with what the operator reports about it.
struct RowWeights {
  RowWeights(const Problem& problem, std::int64_t head, std::int64_t query) {
    const std::int64_t keys = problem.Keys(query);
    for (std::int64_t j = 0; j < keys; ++j) {
      weights.push_back(problem.scale * problem.Dot(problem.Row(problem.q, head, query), problem.Row(problem.k, head, j)));
      max_abs = std::max(max_abs, std::abs(weights.back()));
    }
    max = *std::max_element(weights.begin(), weights.end());
    double sum = 0.0;
    for (double score : weights) sum += std::exp(score - max);
    log_sum = std::log(sum);
    for (double& weight : weights) {
      log_weights.push_back(weight - max - log_sum);
      weight = std::exp(log_weights.back());
      if (weight > 0.0) entropy -= weight * log_weights.back();
    }
  }

  std::vector<double> weights, log_weights;
  double max = 0.0, log_sum = 0.0, entropy = 0.0, max_abs = 0.0;
};

void ForwardLoops(const AttentionInputs& inputs, AttentionOutputs& outputs) {
  const Problem problem(inputs);
  Tensor out = at::zeros_like(problem.v);
  const std::vector<std::int64_t> shape_BHT = {inputs.q_BHTD.size(0), inputs.q_BHTD.size(1), problem.tokens};
  Tensor entropy = at::zeros(shape_BHT, problem.q.options());
  Tensor row_max = at::zeros_like(entropy), log_sum = at::zeros_like(entropy);
  Tensor max_abs = at::zeros({shape_BHT[0], shape_BHT[1]}, problem.q.options());
  for (std::int64_t head = 0; head < problem.heads; ++head) {
    for (std::int64_t i = 0; i < problem.tokens; ++i) {
      const RowWeights row(problem, head, i);
      double* out_row = problem.Row(out, head, i);
      for (std::size_t j = 0; j < row.weights.size(); ++j) {
        const double* v_row = problem.Row(problem.v, head, static_cast<std::int64_t>(j));
        for (std::int64_t c = 0; c < problem.width; ++c) out_row[c] += row.weights[j] * v_row[c];
      }
      const std::int64_t at_row = head * problem.tokens + i;
      entropy.mutable_data_ptr<double>()[at_row] = row.entropy;
      row_max.mutable_data_ptr<double>()[at_row] = row.max;
      log_sum.mutable_data_ptr<double>()[at_row] = row.log_sum;
      double& head_max = max_abs.mutable_data_ptr<double>()[head];
      head_max = std::max(head_max, row.max_abs);
    }
  }
  outputs.out_BHTD.copy_(out);
  if (outputs.entropy_BHT.defined()) outputs.entropy_BHT.copy_(entropy);
  outputs.row_max_BHT.copy_(row_max);
  outputs.log_sum_BHT.copy_(log_sum);
  outputs.max_abs_score_BH.copy_(max_abs);
}

void BackwardLoops(const AttentionInputs& inputs, const AttentionOutputs& /*outputs*/,
                   const AttentionOutputGradients& output_gradients, AttentionInputGradients& gradients) {
  const Problem problem(inputs);
  const Tensor d_out = output_gradients.d_out_BHTD.defined() ? Problem::Copy(output_gradients.d_out_BHTD)
                                                             : at::zeros_like(problem.v);
  const Tensor d_entropy = output_gradients.d_entropy_BHT.defined()
                               ? Problem::Copy(output_gradients.d_entropy_BHT)
                               : at::zeros({problem.heads * problem.tokens}, problem.q.options());
  Tensor dq = at::zeros_like(problem.q), dk = at::zeros_like(problem.k), dv = at::zeros_like(problem.v);
  for (std::int64_t head = 0; head < problem.heads; ++head) {
    for (std::int64_t i = 0; i < problem.tokens; ++i) {
      const RowWeights row(problem, head, i);
      const double* d_out_row = problem.Row(d_out, head, i);
      const double g = d_entropy.const_data_ptr<double>()[head * problem.tokens + i];
      std::vector<double> d_weights;
      double mean = 0.0;
      for (std::size_t j = 0; j < row.weights.size(); ++j) {
        d_weights.push_back(problem.Dot(d_out_row, problem.Row(problem.v, head, static_cast<std::int64_t>(j))));
        mean += row.weights[j] * d_weights.back();
      }
      for (std::size_t index = 0; index < row.weights.size(); ++index) {
        const auto j = static_cast<std::int64_t>(index);
        const double p = row.weights[index];
        const double entropy_term = p > 0.0 ? g * (row.log_weights[index] + row.entropy) : 0.0;
        const double d_score = problem.scale * p * (d_weights[index] - mean - entropy_term);
        const double *q_row = problem.Row(problem.q, head, i), *k_row = problem.Row(problem.k, head, j);
        double *dq_row = problem.Row(dq, head, i), *dk_row = problem.Row(dk, head, j), *dv_row = problem.Row(dv, head, j);
        for (std::int64_t c = 0; c < problem.width; ++c) {
          dq_row[c] += d_score * k_row[c];
          dk_row[c] += d_score * q_row[c];
          dv_row[c] += p * d_out_row[c];
        }
      }
    }
  }
  gradients.dq_BHTD.copy_(dq);
  gradients.dk_BHTD.copy_(dk);
  gradients.dv_BHTD.copy_(dv);
}

bool SupportsLoops(const AttentionInputs& /*inputs*/) { return true; }

}  // namespace

const AttentionBackend& LoopsBackend() {
  static const AttentionBackend backend{"loops", SupportsLoops, ForwardLoops, BackwardLoops};
  return backend;
}

}  // namespace entrain::kernels
