// The CUDA attention kernels' own source, run by the block emulator over whole problems.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "model/kernels/cuda/attention_backward_keys.h"
#include "model/kernels/cuda/attention_backward_queries.h"
#include "model/kernels/cuda/attention_config.h"
#include "model/kernels/cuda/attention_forward.h"
#include "model/kernels/cuda/attention_rows.h"
#include "model/kernels/cuda/simt_math.h"
#include "model/kernels/cuda/tensor_core_math.h"
#include "tests/model/cuda/block_emulator.h"

namespace entrain::kernels::cuda {

// Attention of float32 tensors [B,H,T,D] whose numbers the kernel's type represents exactly.
struct EmulatedProblem {
  torch::Tensor q, k, v, d_out, d_entropy_BHT;  // the last two may be undefined
  float scale = 1.0f;
  bool causal = true;
};

struct EmulatedResult {
  torch::Tensor out, entropy, row_max, log_sum, max_abs, dq, dk, dv;
};

inline float ToFloat(float x) { return x; }
inline float RoundTo(float x, float*) { return x; }

// A tensor's numbers as the kernels want them: strided like the joint projection [B,T,3,H,D], with columns up to a multiple of 16 bytes.
template <typename Element>
class ElementHeads {
 public:
  ElementHeads(std::int64_t batch, std::int64_t heads, std::int64_t tokens, std::int64_t width)
      : width_(width), padded_(TilesFor(static_cast<int>(width), kPiece) * kPiece), heads_(heads), tokens_(tokens), batch_(batch),
        storage_(static_cast<std::size_t>(batch * tokens * 3 * heads * padded_) + kPiece) {}

  explicit ElementHeads(const torch::Tensor& x) : ElementHeads(x.size(0), x.size(1), x.size(2), x.size(3)) {
    const torch::Tensor rows = x.contiguous();
    ForEach([&](std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t c, Element* place) {
      const float value = rows.const_data_ptr<float>()[((b * heads_ + h) * tokens_ + t) * width_ + c];
      *place = RoundTo(value, static_cast<Element*>(nullptr));
    });
  }

  torch::Tensor Read() {
    torch::Tensor x = torch::empty({batch_, heads_, tokens_, width_});
    ForEach([&](std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t c, Element* place) {
      x.mutable_data_ptr<float>()[((b * heads_ + h) * tokens_ + t) * width_ + c] = ToFloat(*place);
    });
    return x;
  }

  int padded() const { return static_cast<int>(padded_); }
  StridedHeads view() { return {Start(), 3 * heads_ * tokens_ * padded_, padded_, 3 * heads_ * padded_}; }

 private:
  static constexpr int kPiece = 16 / static_cast<int>(sizeof(Element));

  // The first 16-byte boundary, then the middle third.
  Element* Start() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return storage_.data() + (16 - address % 16) % 16 / sizeof(Element) + heads_ * padded_;
  }

  template <typename Visit>
  void ForEach(const Visit& visit) {
    for (std::int64_t b = 0; b < batch_; ++b)
      for (std::int64_t h = 0; h < heads_; ++h)
        for (std::int64_t t = 0; t < tokens_; ++t)
          for (std::int64_t c = 0; c < width_; ++c) visit(b, h, t, c, Start() + ((b * tokens_ + t) * 3 * heads_ + h) * padded_ + c);
  }

  std::int64_t width_, padded_, heads_, tokens_, batch_;
  std::vector<Element> storage_;
};

// Runs Kernel in every block of a grid of `tiles` tiles a head.
template <typename Kernel, int kThreads, int kSharedBytes, typename Call>
void RunGrid(const Call& call, int tiles, ThreadOrder order) {
  BlockEmulator block(kThreads, kSharedBytes, order);
  for (int batch = 0; batch < call.shape.batch; ++batch)
    for (int head = 0; head < call.shape.heads; ++head)
      for (int tile = 0; tile < tiles; ++tile) {
        const BlockPlace place{tile, head, batch};
        block.Run([&](const EmulatedThread& thread, unsigned char* shared) {
          if constexpr (kSharedBytes > 0) {
            Kernel::Run(thread, call, place, shared);
          } else {
            Kernel::Run(thread, call, place);
          }
        });
      }
}

template <typename Kernel, typename Config, typename Call>
void RunTiles(const Call& call, ThreadOrder order) {
  RunGrid<Kernel, Config::kThreads, Kernel::kSharedBytes>(call, TilesFor(call.shape.tokens, Config::kOwn), order);
}

// Forward and backward as model/kernels/cuda launches them. Tiles: a member of AttentionTiles or FloatTiles.
template <typename Math, typename Tiles, bool kEntropy>
EmulatedResult Emulate(const EmulatedProblem& problem, bool deterministic, ThreadOrder order) {
  using Element = typename Math::Element;
  const auto sizes = problem.q.sizes();
  const std::int64_t batch = sizes[0], heads = sizes[1], tokens = sizes[2], width = sizes[3];
  ElementHeads<Element> q(problem.q), k(problem.k), v(problem.v), out(batch, heads, tokens, width), dq(out), dk(out), dv(out);
  const AttentionShape shape{static_cast<int>(batch),  static_cast<int>(heads), static_cast<int>(tokens),
                             q.padded(), problem.scale, problem.causal};
  const auto rows = [&] { return torch::zeros({batch, heads, tokens}); };
  EmulatedResult result{{}, rows(), rows(), rows(), torch::zeros({batch, heads}), {}, {}, {}};
  const auto data = [](torch::Tensor& x) { return x.mutable_data_ptr<float>(); };
  const AttentionForwardCall forward{shape, q.view(), k.view(), v.view(), out.view(), data(result.entropy), data(result.row_max),
                                     data(result.log_sum), data(result.max_abs)};
  RunTiles<AttentionForward<Math, typename Tiles::Forward, kEntropy>, typename Tiles::Forward>(forward, order);
  result.out = out.Read();

  std::vector<RowTerms> terms(static_cast<std::size_t>(batch * heads * tokens));
  torch::Tensor d_entropy = problem.d_entropy_BHT.defined() ? problem.d_entropy_BHT.contiguous() : torch::Tensor();
  torch::Tensor dq_sum = torch::zeros({batch, heads, tokens, q.padded()});
  ElementHeads<Element> d_out(problem.d_out.defined() ? problem.d_out : torch::zeros(sizes));
  StridedHeads d_out_view = d_out.view();
  if (!problem.d_out.defined()) d_out_view.data = nullptr;
  const AttentionBackwardCall backward{shape,
                                       q.view(), k.view(), v.view(), out.view(), d_out_view,
                                       data(result.entropy), data(result.row_max), data(result.log_sum),
                                       d_entropy.defined() ? data(d_entropy) : nullptr, terms.data(),
                                       dq.view(), dk.view(), dv.view(), deterministic ? nullptr : data(dq_sum)};
  using Keys = typename Tiles::Keys;
  if constexpr (!Math::kExactMean) {
    using Rows = AttentionRowTerms<Element, 4>;
    RunGrid<Rows, Rows::kThreads, 0>(backward, TilesFor(shape.tokens, Rows::kRows), order);
    if (!deterministic) {
      using Round = AttentionRoundDq<Element, 4>;
      RunTiles<AttentionBackwardKeys<Math, Keys, kEntropy, true>, Keys>(backward, order);
      RunGrid<Round, Round::kThreads, 0>(backward, TilesFor(shape.tokens, Round::kRows), order);
    }
  }
  if (deterministic) {
    RunTiles<AttentionBackwardQueries<Math, typename Tiles::Queries, kEntropy>, typename Tiles::Queries>(backward, order);
    RunTiles<AttentionBackwardKeys<Math, Keys, kEntropy, false>, Keys>(backward, order);
  }
  result.dq = dq.Read();
  result.dk = dk.Read();
  result.dv = dv.Read();
  return result;
}

}  // namespace entrain::kernels::cuda
