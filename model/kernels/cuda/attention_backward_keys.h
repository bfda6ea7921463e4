// dK and dV of attention with entropy, and in the fast mode dQ too: a block owns a tile of keys and walks over the queries.
//
// Scores are computed transposed, keys as rows: P^T and dS^T are then left operands of dV = P^T dO and dK = dS^T Q without leaving the
// registers. For dQ, dS^T goes through shared memory and its product is added to a float32 sum over blocks, in the order of their arrival.
#pragma once

#include "model/kernels/cuda/attention_backward_queries.h"

namespace entrain::kernels::cuda {

template <typename Math, typename Config, bool kEntropy, bool kAddDq>
struct AttentionBackwardKeys {
  using Call = AttentionBackwardCall;
  using Element = typename Math::Element;
  static constexpr int kTiles = Config::kTiles, kOther = Config::kOther, kWidth = Config::kWidth;
  using Scores = float[kTiles][kOther / 8][4];

  static constexpr int kOwnElements = Config::kOwn * kWidth;
  static constexpr int kOtherElements = kOther * kWidth;
  static constexpr int kGradientElements = kAddDq ? Config::kOwn * kOther : 0;
  static constexpr int kTermBytes = kOther * static_cast<int>(sizeof(RowTerms));
  static constexpr int kSharedBytes =
      (2 * kOwnElements + 2 * Config::kStages * kOtherElements + kGradientElements) * static_cast<int>(sizeof(Element)) +
      Config::kStages * kTermBytes;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place,
                                unsigned char* shared) {
    const AttentionShape& shape = call.shape;
    Element* k_tile = reinterpret_cast<Element*>(shared);
    Element* v_tile = k_tile + kOwnElements;
    Element* stages = v_tile + kOwnElements;
    Element* gradient_tile = stages + 2 * Config::kStages * kOtherElements;
    RowTerms* terms = reinterpret_cast<RowTerms*>(gradient_tile + kGradientElements);
    const int first_key = place.tile * Config::kOwn, own_row = thread.warp() * Config::kWarpRows;
    const int warp_first = first_key + own_row, warp_last = warp_first + Config::kWarpRows - 1;
    const Participation takes_part{shape.tokens, shape.causal != 0};
    const bool has_d_out = call.d_out.data != nullptr;
    const auto q = HeadOf<const Element>(call.q, place), d_out = HeadOf<const Element>(call.d_out, place);
    const RowTerms* head_terms = call.row_terms_BHT + FirstRowOf(shape, place);

    CopyTile<Config::kOwn, kWidth, Config::kThreads>(thread, k_tile, HeadOf<const Element>(call.k, place), first_key, shape.tokens,
                                                     shape.width);
    CopyTile<Config::kOwn, kWidth, Config::kThreads>(thread, v_tile, HeadOf<const Element>(call.v, place), first_key, shape.tokens,
                                                     shape.width);
    // Rows past the end are zeros, terms included: they add nothing to dV and dK.
    const auto load = [&](int tile, int stage) {
      Element* at = stages + stage * 2 * kOtherElements;
      CopyTile<kOther, kWidth, Config::kThreads>(thread, at, q, tile * kOther, shape.tokens, shape.width);
      if (has_d_out) {
        CopyTile<kOther, kWidth, Config::kThreads>(thread, at + kOtherElements, d_out, tile * kOther, shape.tokens, shape.width);
      }
      for (int i = thread.index(); i < kOther; i += Config::kThreads) {
        const int query = tile * kOther + i;
        const bool inside = query < shape.tokens;
        thread.CopyAsync16(terms + stage * kOther + i, head_terms + (inside ? query : 0), inside);
      }
    };
    float dk[kTiles][kWidth / 8][4] = {}, dv[kTiles][kWidth / 8][4] = {};
    const float c = shape.scale * kLog2E;
    const int first_tile = shape.causal ? first_key / kOther : 0;
    ForEachTile<Config::kStages>(thread, first_tile, TilesFor(shape.tokens, kOther), load, [&](int tile, int stage) {
      const int first_query = tile * kOther;
      const Element* q_tile = stages + stage * 2 * kOtherElements;
      const Element* d_out_tile = q_tile + kOtherElements;
      Scores scores = {}, d_weights = {};
      const bool apart = warp_first >= shape.tokens || (shape.causal && first_query + kOther - 1 < warp_first);
      if (!apart) {
        Math::template AddProductTransposed<kTiles, kOther, kWidth>(thread, k_tile, own_row, q_tile, scores);
        if (has_d_out) {
          Math::template AddProductTransposed<kTiles, kOther, kWidth>(thread, v_tile, own_row, d_out_tile, d_weights);
        }
        const bool masked = shape.tokens == 1 || (shape.causal && first_query < warp_last);
        if (masked) {
          Differentiate<true>(thread, scores, d_weights, terms + stage * kOther, c, warp_first, first_query, takes_part);
        } else {
          Differentiate<false>(thread, scores, d_weights, terms + stage * kOther, c, warp_first, first_query, takes_part);
        }
        if (has_d_out) Math::template AddProduct<kTiles, kOther, kWidth>(thread, scores, d_out_tile, dv);
        Math::template AddProduct<kTiles, kOther, kWidth>(thread, d_weights, q_tile, dk);
      }
      if constexpr (kAddDq) AddToDq(thread, call, place, gradient_tile, own_row, k_tile, first_query, d_weights);
    });
    // The last tile's readers of k_tile and v_tile are their owners, but for dQ.
    if (kAddDq) thread.Sync();
    float factor[kTiles][2], one[kTiles][2];
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      factor[i][0] = factor[i][1] = shape.scale;
      one[i][0] = one[i][1] = 1.0f;
    }
    StoreRows<Math, kTiles, kWidth>(thread, k_tile, own_row, dk, factor, HeadOf<Element>(call.dk, place), first_key, shape);
    StoreRows<Math, kTiles, kWidth>(thread, v_tile, own_row, dv, one, HeadOf<Element>(call.dv, place), first_key, shape);
  }

 private:
  // Scores become weights, dP becomes dS; columns are queries.
  template <bool kMasked, typename Thread>
  static ENTRAIN_BLOCK void Differentiate(const Thread& thread, Scores& scores, Scores& d_weights, const RowTerms* terms, float c,
                                          int warp_first, int first_query, const Participation& takes_part) {
    const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
    ENTRAIN_UNROLL
    for (int j = 0; j < kOther / 8; ++j) {
      ENTRAIN_UNROLL
      for (int side = 0; side < 2; ++side) {
        const RowTerms own = terms[8 * j + column + side];
        const int query = first_query + 8 * j + column + side;
        ENTRAIN_UNROLL
        for (int i = 0; i < kTiles; ++i) {
          ENTRAIN_UNROLL
          for (int half = 0; half < 2; ++half) {
            const int e = 2 * half + side, key = warp_first + 16 * i + 8 * half + row;
            const bool counted = !kMasked || takes_part.Scores(query, key);
            const float log_weight = LogWeight(scores[i][j][e], own, c);
            const float weight = thread.Exp2(log_weight);
            const float gradient = ScoreGradient<kEntropy>(weight, log_weight, d_weights[i][j][e], own);
            scores[i][j][e] = counted ? weight : 0.0f;
            d_weights[i][j][e] = counted && !(kMasked && takes_part.HasOneKey(query)) ? gradient : 0.0f;
          }
        }
      }
    }
  }

  // dQ of this tile of queries += scale dS K. Warps share the result: a tile of 16 queries, and a part of the columns, for each.
  template <typename Thread>
  static ENTRAIN_BLOCK void AddToDq(const Thread& thread, const AttentionBackwardCall& call, const BlockPlace& place,
                                    Element* gradient_tile, int own_row, const Element* k_tile, int first_query,
                                    const Scores& gradients) {
    using Stored = TileLayout<Element, kOther>;
    constexpr int kRowTiles = kOther / 16, kParts = Config::kWarps / kRowTiles, kPart = kWidth / kParts;
    static_assert(Config::kWarps % kRowTiles == 0 && kPart % 16 == 0, "every warp takes an equal share of dQ");
    const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int j = 0; j < kOther / 8; ++j) {
        const int upper = own_row + 16 * i + row;
        Math::StorePair(thread, gradient_tile + Stored::Offset(upper, j) + column, gradients[i][j][0], gradients[i][j][1]);
        Math::StorePair(thread, gradient_tile + Stored::Offset(upper + 8, j) + column, gradients[i][j][2], gradients[i][j][3]);
      }
    }
    thread.Sync();
    float dq[kPart / 8][4] = {};
    const int query_row = 16 * (thread.warp() % kRowTiles), first_column = kPart * (thread.warp() / kRowTiles);
    Math::template AddProductOfStored<Config::kOwn, kOther, kWidth, kPart>(thread, gradient_tile, query_row, k_tile, first_column, dq);
    const AttentionShape& shape = call.shape;
    float* sums = call.dq_sum_BHTW + FirstRowOf(shape, place) * shape.width;
    ENTRAIN_UNROLL
    for (int j = 0; j < kPart / 8; ++j) {
      ENTRAIN_UNROLL
      for (int e = 0; e < 4; ++e) {
        const int query = first_query + query_row + 8 * (e / 2) + row, at = first_column + 8 * j + column + e % 2;
        if (query < shape.tokens && at < shape.width) {
          thread.AtomicAdd(sums + static_cast<std::int64_t>(query) * shape.width + at, dq[j][e] * shape.scale);
        }
      }
    }
    // Nothing else keeps a warp from writing the next tile's dS over this one: the ring's barrier comes first.
  }
};

}  // namespace entrain::kernels::cuda
