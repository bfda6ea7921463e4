// Attention forward with its rows' entropies: a block owns a tile of queries and walks over the keys once.
//
// Scores stay unscaled (s); with c = scale log2(e), t = (s - m) c and p~ = 2^t a row keeps l = sum p~ and A = sum p~ t. When the maximum
// rises from m to m', with t' = (m - m') c:  A <- 2^t' (A + t' l), l <- 2^t' l. At the end H = ln l - ln(2) A / l.
#pragma once

#include <math.h>

#include "model/kernels/cuda/attention_parts.h"

namespace entrain::kernels::cuda {

template <typename Math, typename Config, bool kEntropy>
struct AttentionForward {
  using Call = AttentionForwardCall;
  using Element = typename Math::Element;
  static constexpr int kTiles = Config::kTiles, kOther = Config::kOther, kWidth = Config::kWidth;
  using Scores = float[kTiles][kOther / 8][4];

  // Tiles in shared memory, in elements.
  static constexpr int kOwnElements = Config::kOwn * kWidth;
  static constexpr int kOtherElements = kOther * kWidth;
  static constexpr int kSharedBytes =
      (kOwnElements + 2 * Config::kStages * kOtherElements) * static_cast<int>(sizeof(Element));

  struct Rows {
    float max[kTiles][2];
    float sum[kTiles][2];      // of the lane's columns, as is `shifted`
    float shifted[kTiles][2];  // A
    float out[kTiles][kWidth / 8][4];
    float max_abs_score = 0.0f;
  };

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const AttentionForwardCall& call, const BlockPlace& place,
                                unsigned char* shared) {
    const AttentionShape& shape = call.shape;
    Element* q_tile = reinterpret_cast<Element*>(shared);
    Element* stages = q_tile + kOwnElements;
    const int first_query = place.tile * Config::kOwn, own_row = thread.warp() * Config::kWarpRows;
    const int warp_first = first_query + own_row, warp_last = warp_first + Config::kWarpRows - 1;
    const Participation takes_part{shape.tokens, shape.causal != 0};
    const int keys = shape.causal ? Smaller(shape.tokens, first_query + Config::kOwn) : shape.tokens;
    const auto k = HeadOf<const Element>(call.k, place), v = HeadOf<const Element>(call.v, place);

    CopyTile<Config::kOwn, kWidth, Config::kThreads>(thread, q_tile, HeadOf<const Element>(call.q, place), first_query, shape.tokens,
                                                     shape.width);
    const auto load = [&](int tile, int stage) {
      Element* at = stages + stage * 2 * kOtherElements;
      CopyTile<kOther, kWidth, Config::kThreads>(thread, at, k, tile * kOther, shape.tokens, shape.width);
      CopyTile<kOther, kWidth, Config::kThreads>(thread, at + kOtherElements, v, tile * kOther, shape.tokens, shape.width);
    };
    Rows rows;
    Clear(&rows);
    const float c = shape.scale * kLog2E;
    ForEachTile<Config::kStages>(thread, 0, TilesFor(keys, kOther), load, [&](int tile, int stage) {
      const int first_key = tile * kOther;
      if (warp_first >= shape.tokens || (shape.causal && first_key > warp_last)) return;
      const Element* k_tile = stages + stage * 2 * kOtherElements;
      Scores scores = {};
      Math::template AddProductTransposed<kTiles, kOther, kWidth>(thread, q_tile, own_row, k_tile, scores);
      const bool masked = first_key + kOther > shape.tokens || (shape.causal && first_key + kOther - 1 > warp_first);
      if (masked) {
        Absorb<true>(thread, scores, c, tile == 0, warp_first, first_key, takes_part, &rows);
      } else {
        Absorb<false>(thread, scores, c, tile == 0, warp_first, first_key, takes_part, &rows);
      }
      Math::template AddProduct<kTiles, kOther, kWidth>(thread, scores, k_tile + kOtherElements, rows.out);
    });
    Finish(thread, call, place, q_tile, own_row, first_query, &rows);
  }

 private:
  static ENTRAIN_BLOCK void Clear(Rows* rows) {
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int half = 0; half < 2; ++half) {
        rows->max[i][half] = -INFINITY;
        rows->sum[i][half] = 0.0f;
        rows->shifted[i][half] = 0.0f;
      }
      ENTRAIN_UNROLL
      for (int j = 0; j < kWidth / 8; ++j) {
        ENTRAIN_UNROLL
        for (int e = 0; e < 4; ++e) rows->out[i][j][e] = 0.0f;
      }
    }
  }

  // Scores of one tile become unnormalised weights. The first tile holds key 0, which every row sees: from then on the maximum is finite.
  template <bool kMasked, typename Thread>
  static ENTRAIN_BLOCK void Absorb(const Thread& thread, Scores& scores, float c, bool first, int warp_first, int first_key,
                                   const Participation& takes_part, Rows* rows) {
    const int row = thread.lane() >> 2, column = 2 * (thread.lane() & 3);
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int query = warp_first + 16 * i + 8 * half + row;
        const auto counts = [&](int j, int e) { return !kMasked || takes_part.Scores(query, first_key + 8 * j + column + e); };
        float largest = -INFINITY;
        ENTRAIN_UNROLL
        for (int j = 0; j < kOther / 8; ++j) {
          ENTRAIN_UNROLL
          for (int e = 0; e < 2; ++e) {
            const float score = scores[i][j][2 * half + e];
            if (counts(j, e)) largest = fmaxf(largest, score);
          }
        }
        const float before = rows->max[i][half];
        const float now = fmaxf(before, RowMax(thread, largest));
        const float moved = first ? 0.0f : (before - now) * c;
        const float shrink = thread.Exp2(moved);
        float sum = rows->sum[i][half] * shrink;
        float shifted = kEntropy ? shrink * fmaf(moved, rows->sum[i][half], rows->shifted[i][half]) : 0.0f;
        ENTRAIN_UNROLL
        for (int j = 0; j < kOther / 8; ++j) {
          ENTRAIN_UNROLL
          for (int e = 0; e < 2; ++e) {
            const float score = scores[i][j][2 * half + e];
            const bool counted = counts(j, e);
            // A masked score is selected away before the product: 0 times its t could be NaN.
            const float t = counted ? (score - now) * c : 0.0f;
            const float weight = counted ? thread.Exp2(t) : 0.0f;
            sum += weight;
            if (kEntropy) shifted = fmaf(weight, t, shifted);
            if (counted) rows->max_abs_score = fmaxf(rows->max_abs_score, fabsf(score));
            scores[i][j][2 * half + e] = weight;
          }
        }
        rows->max[i][half] = now;
        rows->sum[i][half] = sum;
        rows->shifted[i][half] = shifted;
        ENTRAIN_UNROLL
        for (int j = 0; j < kWidth / 8; ++j) {
          rows->out[i][j][2 * half] *= shrink;
          rows->out[i][j][2 * half + 1] *= shrink;
        }
      }
    }
  }

  template <typename Thread>
  static ENTRAIN_BLOCK void Finish(const Thread& thread, const AttentionForwardCall& call, const BlockPlace& place,
                                   Element* q_tile, int own_row, int first_query, Rows* rows) {
    const AttentionShape& shape = call.shape;
    const std::int64_t head_first = FirstRowOf(shape, place);
    float factor[kTiles][2];
    bool finite = true;
    ENTRAIN_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      ENTRAIN_UNROLL
      for (int half = 0; half < 2; ++half) {
        const float sum = RowSum(thread, rows->sum[i][half]), shifted = RowSum(thread, rows->shifted[i][half]);
        const int query = first_query + own_row + 16 * i + 8 * half + (thread.lane() >> 2);
        factor[i][half] = 1.0f / sum;
        if (query >= shape.tokens) continue;
        finite = finite && sum == sum;
        if ((thread.lane() & 3) != 0) continue;
        const float log_sum = logf(sum);
        call.row_max_BHT[head_first + query] = rows->max[i][half] * shape.scale;
        call.log_sum_BHT[head_first + query] = log_sum;
        if (!kEntropy) continue;
        const float entropy = log_sum - kLn2 * shifted / sum;
        call.entropy_BHT[head_first + query] = entropy < 0.0f ? 0.0f : entropy;
      }
    }
    // NaN wins, so that it is seen.
    float largest = finite ? rows->max_abs_score * shape.scale : NAN;
    ENTRAIN_UNROLL
    for (int mask = 16; mask > 0; mask /= 2) {
      const float other = thread.ShuffleXor(largest, mask);
      largest = largest != largest || other <= largest ? largest : other;
    }
    if (thread.lane() == 0) thread.AtomicMaxNonNegative(&call.max_abs_score_BH[place.batch * shape.heads + place.head], largest);
    StoreRows<Math, kTiles, kWidth>(thread, q_tile, own_row, rows->out, factor, HeadOf<Element>(call.out, place), first_query, shape);
  }
};

}  // namespace entrain::kernels::cuda
