// Gradient norm, clipping factor and AdamW over flat buffers. Everything that changes from step to step is read from device memory, so that
// a captured step can be replayed.
#pragma once

#include <math.h>

#include "model/kernels/cuda/attention_call.h"
#include "model/kernels/cuda/row_access.h"

namespace entrain::kernels::cuda {

// Places of the two small arrays (model/kernels/step_kernels.h).
struct SchedulePlaces {
  int learning_rate, bias_correction_1, bias_correction_2, gradient_scale;
};
struct ClipPlaces {
  int norm, factor, finite;
};

struct GradientNormCall {
  const float* gradient;
  int blocks_of_1024;
  double* partial;  // a number a block
  int partials;
  double max_norm;
  const double* schedule;
  double* clip;
  SchedulePlaces schedule_at;
  ClipPlaces clip_at;
};

template <typename Copy>
struct AdamWCall {
  float *parameter, *first_moment, *second_moment;
  const float* gradient;
  Copy* parameter_copy;  // null: none
  std::int64_t count, decay_end;  // multiples of 4
  float beta1_rest, beta2, beta2_rest, eps, weight_decay;  // a rest is 1 - beta, rounded once
  const double* schedule;
  const double* clip;
  SchedulePlaces schedule_at;
  ClipPlaces clip_at;
};

// Sum of squares of every `partials`-th block of 1024 elements: single precision over four elements, double beyond.
struct GradientSquares {
  using Call = GradientNormCall;
  static constexpr int kWarps = 8, kThreads = 256, kSharedBytes = 8 * static_cast<int>(sizeof(double));

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char* shared) {
    double sum = 0.0;
    for (int block = place.tile; block < call.blocks_of_1024; block += call.partials) {
      float x[4];
      Piece<float, 4>::Load(thread, call.gradient + static_cast<std::int64_t>(block) * 1024 + 4 * thread.index(), x);
      sum += fmaf(x[3], x[3], fmaf(x[2], x[2], fmaf(x[1], x[1], x[0] * x[0])));
    }
    sum = BlockSum<kWarps>(thread, sum, reinterpret_cast<double*>(shared));
    if (thread.index() == 0) call.partial[place.tile] = sum;
  }
};

// One block.
struct ClipFactor {
  using Call = GradientNormCall;
  static constexpr int kWarps = 8, kThreads = 256, kSharedBytes = 8 * static_cast<int>(sizeof(double));

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace&, unsigned char* shared) {
    double sum = 0.0;
    for (int part = thread.index(); part < call.partials; part += kThreads) sum += call.partial[part];
    sum = BlockSum<kWarps>(thread, sum, reinterpret_cast<double*>(shared));
    if (thread.index() != 0) return;
    const double scale = call.schedule[call.schedule_at.gradient_scale], norm = sqrt(sum) * scale;
    const double shrink = call.max_norm / (norm + 1e-6);
    call.clip[call.clip_at.norm] = norm;
    call.clip[call.clip_at.factor] = call.max_norm > 0.0 && !(shrink >= 1.0) ? scale * shrink : scale;
    call.clip[call.clip_at.finite] = norm - norm == 0.0 ? 1.0 : 0.0;
  }
};

template <typename Copy>
struct AdamWPieces {
  using Call = AdamWCall<Copy>;
  static constexpr int kThreads = 256, kPiece = 4, kSharedBytes = 16;

  template <typename Thread>
  static ENTRAIN_BLOCK void Run(const Thread& thread, const Call& call, const BlockPlace& place, unsigned char*) {
    const std::int64_t at = kPiece * (static_cast<std::int64_t>(place.tile) * kThreads + thread.index());
    if (at >= call.count || call.clip[call.clip_at.finite] < 0.5) return;
    const float lr = static_cast<float>(call.schedule[call.schedule_at.learning_rate]);
    const float factor = static_cast<float>(call.clip[call.clip_at.factor]);
    const float step = lr / static_cast<float>(call.schedule[call.schedule_at.bias_correction_1]);
    const float per_root = 1.0f / sqrtf(static_cast<float>(call.schedule[call.schedule_at.bias_correction_2]));
    const float keep = at < call.decay_end ? 1.0f - lr * call.weight_decay : 1.0f;
    float parameter[kPiece], gradient[kPiece], first[kPiece], second[kPiece];
    using Access = Piece<float, kPiece>;
    Access::Load(thread, call.parameter + at, parameter);
    Access::Load(thread, call.gradient + at, gradient);
    Access::Load(thread, call.first_moment + at, first);
    Access::Load(thread, call.second_moment + at, second);
    ENTRAIN_UNROLL
    for (int i = 0; i < kPiece; ++i) {
      const float g = gradient[i] * factor;
      first[i] = fmaf(call.beta1_rest, g - first[i], first[i]);
      second[i] = fmaf(call.beta2, second[i], call.beta2_rest * g * g);
      parameter[i] = parameter[i] * keep - step * first[i] / fmaf(sqrtf(second[i]), per_root, call.eps);
    }
    Access::Store(thread, call.parameter + at, parameter);
    Access::Store(thread, call.first_moment + at, first);
    Access::Store(thread, call.second_moment + at, second);
    if (call.parameter_copy != nullptr) Piece<Copy, kPiece>::Store(thread, call.parameter_copy + at, parameter);
  }
};

}  // namespace entrain::kernels::cuda
