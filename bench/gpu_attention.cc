// Attention alone on one GPU: ours with entropy and without, the stock flash and cuDNN kernels, and materialised probabilities. Every
// contestant is captured in a CUDA graph and replayed between events; one JSON line a row (bench/gpu).
#include <ATen/cuda/CUDAEvent.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "model/kernels/backends.h"

namespace entrain {
namespace {

using torch::Tensor;

struct Shape {
  std::int64_t batch, heads, tokens, width;
};

struct Inputs {
  Tensor q, k, v, d_out, d_entropy;
  double scale;
};

Inputs MakeInputs(const Shape& shape) {
  const auto options = at::TensorOptions().device(at::kCUDA).dtype(at::kBFloat16);
  const auto random = [&] { return at::randn({shape.batch, shape.heads, shape.tokens, shape.width}, options); };
  return {random(), random(), random(), random(),
          at::randn({shape.batch, shape.heads, shape.tokens}, options.dtype(at::kFloat)) * 1e-3,
          1.0 / std::sqrt(static_cast<double>(shape.width))};
}

// A contestant does its forward pass, and its backward pass if asked.
using Contestant = std::function<void(const Inputs&, bool backward)>;

void Ours(const Inputs& in, bool backward, bool entropy, bool deterministic) {
  const kernels::AttentionInputs inputs{in.q, in.k, in.v, in.scale, true, deterministic};
  const auto statistics = in.d_entropy.options();
  const auto rows = [&] { return at::empty(in.d_entropy.sizes(), statistics); };
  kernels::AttentionOutputs outputs{at::empty_like(in.q), entropy ? rows() : Tensor(), rows(), rows(),
                                    at::empty({in.q.size(0), in.q.size(1)}, statistics)};
  kernels::CudaBackend().forward(inputs, outputs);
  if (!backward) return;
  kernels::AttentionInputGradients gradients{at::empty_like(in.q), at::empty_like(in.k), at::empty_like(in.v)};
  kernels::CudaBackend().backward(inputs, outputs, {in.d_out, entropy ? in.d_entropy : Tensor()}, gradients);
}

void Flash(const Inputs& in, bool backward) {
  const auto [out, lse, cum_q, cum_k, max_q, max_k, seed, offset, mask] =
      at::_scaled_dot_product_flash_attention(in.q, in.k, in.v, 0.0, true, false, in.scale);
  if (!backward) return;
  at::_scaled_dot_product_flash_attention_backward_symint(in.d_out, in.q, in.k, in.v, out, lse, cum_q, cum_k, max_q, max_k, 0.0, true, seed,
                                                   offset, in.scale);
}

void Cudnn(const Inputs& in, bool backward) {
  const auto [out, lse, cum_q, cum_k, max_q, max_k, seed, offset, mask] =
      at::_scaled_dot_product_cudnn_attention(in.q, in.k, in.v, {}, true, 0.0, true, false, in.scale);
  if (!backward) return;
  at::_scaled_dot_product_cudnn_attention_backward_symint(in.d_out, in.q, in.k, in.v, out, lse, seed, offset, Tensor(), cum_q, cum_k, max_q,
                                                   max_k, 0.0, true, in.scale);
}

// As the paper's authors compute it, through autograd.
void Eager(const Inputs& in, bool backward, bool entropy) {
  const torch::AutoGradMode grad(backward);
  const auto leaf = [&](const Tensor& x) { return x.detach().set_requires_grad(backward); };
  const Tensor q = leaf(in.q), k = leaf(in.k), v = leaf(in.v);
  const Tensor mask = at::ones({q.size(2), q.size(2)}, q.options().dtype(at::kBool)).triu(1);
  const Tensor weights = (at::matmul(q, k.transpose(2, 3)) * in.scale).masked_fill(mask, -INFINITY).softmax(-1, at::kFloat);
  const Tensor out = at::matmul(weights.to(q.scalar_type()), v);
  Tensor rows;
  if (entropy) rows = -(weights * (weights + 1e-9).log()).sum(-1);
  if (!backward) return;
  std::vector<Tensor> roots = {out}, gradients = {in.d_out};
  if (entropy) {
    roots.push_back(rows);
    gradients.push_back(in.d_entropy);
  }
  torch::autograd::grad(roots, {q, k, v}, gradients);
}

struct Timing {
  double milliseconds = 0.0, peak_mib = 0.0;
  std::string error;
};

// The median of several rounds of replays.
double TimeReplays(at::cuda::CUDAGraph& graph, int replays) {
  std::vector<double> rounds;
  for (int round = 0; round < 5; ++round) {
    at::cuda::CUDAEvent begin(cudaEventDefault), end(cudaEventDefault);
    begin.record();
    for (int i = 0; i < replays; ++i) graph.replay();
    end.record();
    end.synchronize();
    rounds.push_back(static_cast<double>(begin.elapsed_time(end)) / replays);
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

Timing Measure(const Inputs& inputs, const Contestant& contestant, bool backward, int replays) {
  Timing timing;
  try {
    const c10::cuda::CUDAStream side = c10::cuda::getStreamFromPool();
    const c10::cuda::CUDAStreamGuard guard(side);
    c10::cuda::CUDACachingAllocator::emptyCache();
    c10::cuda::CUDACachingAllocator::resetPeakStats(0);
    for (int i = 0; i < 3; ++i) contestant(inputs, backward);
    side.synchronize();
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(0);
    timing.peak_mib = static_cast<double>(stats.allocated_bytes[0].peak) / (1 << 20);
    at::cuda::CUDAGraph graph;
    graph.capture_begin();
    contestant(inputs, backward);
    graph.capture_end();
    timing.milliseconds = TimeReplays(graph, replays);
  } catch (const std::exception& e) {
    timing.error = e.what();
    timing.error = timing.error.substr(0, timing.error.find('\n')).substr(0, 100);
    std::replace(timing.error.begin(), timing.error.end(), '"', '\'');
    (void)cudaGetLastError();
  }
  return timing;
}

void Row(const Shape& shape, int replays) {
  const Inputs inputs = MakeInputs(shape);
  const std::vector<std::pair<const char*, Contestant>> contestants = {
      {"ours", [](const Inputs& in, bool backward) { Ours(in, backward, true, false); }},
      {"ours deterministic", [](const Inputs& in, bool backward) { Ours(in, backward, true, true); }},
      {"ours without entropy", [](const Inputs& in, bool backward) { Ours(in, backward, false, false); }},
      {"ours without entropy deterministic", [](const Inputs& in, bool backward) { Ours(in, backward, false, true); }},
      {"flash", Flash},
      {"cudnn", Cudnn},
      {"eager", [](const Inputs& in, bool backward) { Eager(in, backward, false); }},
      {"eager with entropy", [](const Inputs& in, bool backward) { Eager(in, backward, true); }},
  };
  for (const auto& [name, contestant] : contestants) {
    for (const bool backward : {false, true}) {
      const Timing timing = Measure(inputs, contestant, backward, replays);
      std::printf("{\"tokens\": %ld, \"batch\": %ld, \"contestant\": \"%s\", \"backward\": %s, \"ms\": %.5f, \"peak_mib\": %.1f, "
                  "\"error\": \"%s\"}\n",
                  static_cast<long>(shape.tokens), static_cast<long>(shape.batch), name, backward ? "true" : "false",
                  timing.milliseconds, timing.peak_mib, timing.error.c_str());
      std::fflush(stdout);
    }
  }
}

}  // namespace
}  // namespace entrain

int main(int argc, char** argv) {
  std::vector<std::int64_t> tokens = {128, 256, 512, 1024, 2048, 4096, 8192};
  std::int64_t total = 16384, heads = 12, width = 64;
  int replays = 50;
  CLI::App app("Times attention on one GPU for bench/gpu.", "bench_gpu_attention");
  app.add_option("--tokens", tokens, "Lengths of a sequence");
  app.add_option("--total", total, "Tokens of a batch");
  app.add_option("--heads", heads);
  app.add_option("--width", width, "Columns of a head");
  app.add_option("--replays", replays);
  CLI11_PARSE(app, argc, argv);
  if (!torch::cuda::is_available()) {
    std::fprintf(stderr, "bench_gpu_attention: no CUDA device: not measured\n");
    return 69;
  }
  const torch::NoGradGuard no_grad;
  for (const std::int64_t length : tokens) entrain::Row({std::max<std::int64_t>(1, total / length), heads, length, width}, replays);
  return 0;
}
