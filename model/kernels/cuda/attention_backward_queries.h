// dQ of attention with entropy: a block owns a tile of queries and walks over the keys. No sum crosses blocks, so the bits repeat.
//
// With the row's terms (RowTerms): dS = p (dP - mean - entropy_gradient log2 p), dQ = scale dS K.
#pragma once

#include <math.h>

#include "model/kernels/cuda/attention_parts.h"

namespace entrain::kernels::cuda {

// log2 of a weight. Rounding could lift it above 0, where enormous scores would overflow.
ENTRAIN_BLOCK float LogWeight(float score, const RowTerms& terms, float c) {
  return fminf(fmaf(score - terms.row_max, c, -terms.log2_sum), 0.0f);
}

template <bool kEntropy>
ENTRAIN_BLOCK float ScoreGradient(float weight, float log_weight, float d_weight, const RowTerms& terms) {
  const float centred = d_weight - terms.mean;
  return weight * (kEntropy ? fmaf(-terms.entropy_gradient, log_weight, centred) : centred);
}

// The terms that do not depend on dP; mean is still 0.
ENTRAIN_BLOCK RowTerms StartTerms(const AttentionBackwardCall& call, std::int64_t row) {
  RowTerms terms;
  terms.row_max = call.row_max_BHT[row] / call.shape.scale;
  terms.log2_sum = call.log_sum_BHT[row] * kLog2E;
  terms.mean = 0.0f;
  terms.entropy_gradient = call.d_entropy_BHT != nullptr ? call.d_entropy_BHT[row] * kLn2 : 0.0f;
  return terms;
}

template <typename Math, typename Config, bool kEntropy>
struct AttentionBackwardQueries {
  using Call = AttentionBackwardCall;
  using Element = typename Math::Element;
  static constexpr int kTiles = Config::kTiles, kOther = Config::kOther, kWidth = Config::kWidth;
  using Scores = float[kTiles][kOther / 8][4];

  static constexpr int kOwnElements = Config::kOwn * kWidth;
  static constexpr int kOtherElements = kOther * kWidth;
  static constexpr int kSharedBytes =
      (2 * kOwnElements + 2 * Config::kStages * kOtherElements) * static_cast<int>(sizeof(Element));

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place,
                                unsigned char* shared) {
    const AttentionShape& shape = call.shape;
    Element* q_tile = reinterpret_cast<Element*>(shared);
    Element* d_out_tile = q_tile + kOwnElements;
    Element* stages = d_out_tile + kOwnElements;
    const int first_query = place.tile * Config::kOwn, own_row = thread.warp() * Config::kWarpRows;
    const int warp_first = first_query + own_row, warp_last = warp_first + Config::kWarpRows - 1;
    const Participation takes_part{shape.tokens, shape.causal != 0};
    const int keys = shape.causal ? Smaller(shape.tokens, first_query + Config::kOwn) : shape.tokens;
    const bool has_d_out = call.d_out.data != nullptr;
    const auto k = HeadOf<const Element>(call.k, place), v = HeadOf<const Element>(call.v, place);

    CopyTile<Config::kOwn, kWidth, Config::kThreads>(thread, q_tile, HeadOf<const Element>(call.q, place), first_query, shape.tokens,
                                                     shape.width);
    if (has_d_out) {
      CopyTile<Config::kOwn, kWidth, Config::kThreads>(thread, d_out_tile, HeadOf<const Element>(call.d_out, place), first_query,
                                                       shape.tokens, shape.width);
    }
    const auto load = [&](int tile, int stage) {
      Element* at = stages + stage * 2 * kOtherElements;
      CopyTile<kOther, kWidth, Config::kThreads>(thread, at, k, tile * kOther, shape.tokens, shape.width);
      if (has_d_out) {
        CopyTile<kOther, kWidth, Config::kThreads>(thread, at + kOtherElements, v, tile * kOther, shape.tokens, shape.width);
      }
    };
    RowTerms terms[kTiles][2];
    ReadTerms(thread, call, place, warp_first, &terms);
    const float c = shape.scale * kLog2E;
    // Calls on_tile(scores, d_weights, first_key, masked) with scores and dP of every tile that the warp takes part in.
    const auto walk = [&](const auto& on_tile) {
      ForEachTile<Config::kStages>(thread, 0, TilesFor(keys, kOther), load, [&](int tile, int stage) {
        const int first_key = tile * kOther;
        if (warp_first >= shape.tokens || (shape.causal && first_key > warp_last)) return;
        const Element* k_tile = stages + stage * 2 * kOtherElements;
        Scores scores = {}, d_weights = {};
        Math::template AddProductTransposed<kTiles, kOther, kWidth>(thread, q_tile, own_row, k_tile, scores);
        if (has_d_out) {
          Math::template AddProductTransposed<kTiles, kOther, kWidth>(thread, d_out_tile, own_row, k_tile + kOtherElements, d_weights);
        }
        on_tile(scores, d_weights, k_tile, first_key,
                first_key + kOther > shape.tokens || (shape.causal && first_key + kOther - 1 > warp_first));
      });
    };

    if (Math::kExactMean) {
      float mean[kTiles][2] = {};
      walk([&](Scores& scores, Scores& d_weights, const Element*, int first_key, bool) {
        AddToMean(thread, scores, d_weights, terms, c, warp_first, first_key, takes_part, &mean);
      });
      WriteMeans(thread, call, place, warp_first, mean, &terms);
      thread.Sync();
    }

    float dq[kTiles][kWidth / 8][4] = {};
    walk([&](Scores& scores, Scores& d_weights, const Element* k_tile, int first_key, bool masked) {
      if (masked) {
        Differentiate<true>(thread, scores, d_weights, terms, c, warp_first, first_key, takes_part);
      } else {
        Differentiate<false>(thread, scores, d_weights, terms, c, warp_first, first_key, takes_part);
      }
      Math::template AddProduct<kTiles, kOther, kWidth>(thread, scores, k_tile, dq);
    });
    float factor[kTiles][2];
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) factor[i][0] = factor[i][1] = shape.scale;
    StoreRows<Math, kTiles, kWidth>(thread, q_tile, own_row, dq, factor, HeadOf<Element>(call.dq, place), first_query, shape);
  }

 private:
  template <typename Thread>
  static ENTRAIN_BLOCK void ReadTerms(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place,
                                      int warp_first, RowTerms (*terms)[kTiles][2]) {
    const std::int64_t head_first = FirstRowOf(call.shape, place);
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int query = warp_first + 16 * i + 8 * half + (thread.lane() >> 2);
        RowTerms& row = (*terms)[i][half];
        row = RowTerms{0.0f, 0.0f, 0.0f, 0.0f};
        if (query >= call.shape.tokens) continue;
        row = Math::kExactMean ? StartTerms(call, head_first + query) : call.row_terms_BHT[head_first + query];
      }
    }
  }

  // Scores become dS.
  template <bool kMasked, typename Thread>
  static ENTRAIN_BLOCK void Differentiate(const Thread& thread, Scores& scores, const Scores& d_weights,
                                          const RowTerms (&terms)[kTiles][2], float c, int warp_first, int first_key,
                                          const Participation& takes_part) {
    const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int j = 0; j < kOther / 8; ++j) {
        ENTRAIN_UNROLL
        for (int e = 0; e < 4; ++e) {
          const RowTerms& own = terms[i][e / 2];
          const float log_weight = LogWeight(scores[i][j][e], own, c);
          const float gradient = ScoreGradient<kEntropy>(thread.Exp2(log_weight), log_weight, d_weights[i][j][e], own);
          const int query = warp_first + 16 * i + 8 * (e / 2) + row, key = first_key + 8 * j + column + e % 2;
          const bool counted = !kMasked || (takes_part.Scores(query, key) && !takes_part.HasOneKey(query));
          scores[i][j][e] = counted ? gradient : 0.0f;
        }
      }
    }
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void AddToMean(const Thread& thread, const Scores& scores, const Scores& d_weights,
                                      const RowTerms (&terms)[kTiles][2], float c, int warp_first, int first_key,
                                      const Participation& takes_part, float (*mean)[kTiles][2]) {
    const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int j = 0; j < kOther / 8; ++j) {
        ENTRAIN_UNROLL
        for (int e = 0; e < 4; ++e) {
          const int query = warp_first + 16 * i + 8 * (e / 2) + row, key = first_key + 8 * j + column + e % 2;
          const float log_weight = LogWeight(scores[i][j][e], terms[i][e / 2], c);
          const float part = ScoreGradient<kEntropy>(thread.Exp2(log_weight), log_weight, d_weights[i][j][e], terms[i][e / 2]);
          if (takes_part.Scores(query, key)) (*mean)[i][e / 2] += part;
        }
      }
    }
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void WriteMeans(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place,
                                       int warp_first, const float (&mean)[kTiles][2], RowTerms (*terms)[kTiles][2]) {
    const std::int64_t head_first = FirstRowOf(call.shape, place);
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int query = warp_first + 16 * i + 8 * half + (thread.lane() >> 2);
        (*terms)[i][half].mean = RowSum(thread, mean[i][half]);
        if (query < call.shape.tokens && (thread.lane() & 3) == 0) call.row_terms_BHT[head_first + query] = (*terms)[i][half];
      }
    }
  }
};

}  // namespace entrain::kernels::cuda
