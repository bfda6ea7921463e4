// What the ranks tell each other at every step beside gradients: losses, entropies, scores and the wish to stop, in one small reduction
// that leaves before the backward pass. They are gathered and reduced where the model computes, and reach the host once a step. Values
// that must stay exact travel in a slot of their own per rank (x + 0 = x).
//
// Shape suffixes: L layers, H heads.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "model/gpt.h"
#include "worker/collective/collective.h"
#include "worker/trainer/training_run.h"

namespace entrain::trainer {

class StepSummary {
 public:
  StepSummary(std::int64_t n_layer, std::int64_t n_head, std::int64_t accumulation, torch::Device device,
              collective::Collective* collective);

  // Before the step's work, on the stream that will do it: the wish is the only number that the host puts in.
  void SetWish(StopWish wish);
  // The step's work, all of it where the model computes: a GPU may capture it and replay it.
  void Clear();
  void AddMicroBatch(std::int64_t micro, const model::ForwardOutput& output);
  // After the last micro-batch's forward.
  void StartReduction();
  // The sums are complete for what is computed afterwards, and on their way to the host.
  absl::Status Finish();
  // [] float64 on the device: 1 if every rank's losses are finite, else 0. After Finish.
  torch::Tensor LossesAreFinite() const;

  // The rest is valid once the host has waited for the work (StepGraph::WaitForResults), and equal on every rank.
  double loss() const;  // mean over micro-batches and ranks, in double
  double reg() const;
  // The strongest wish of any rank.
  StopWish stop_wish() const;
  std::vector<float> entropy_nats() const;   // [L*H], mean
  std::vector<float> max_abs_score() const;  // [L], NaN if any rank saw NaN

 private:
  const float* Slots(std::int64_t begin) const { return host_values_.const_data_ptr<float>() + begin; }
  double MeanOfSlots(std::int64_t begin) const;

  std::int64_t n_layer_, n_head_, accumulation_, world_size_, rank_;
  collective::Collective* collective_;
  // Places in values_: losses and regs [rank][micro], wishes [rank], scores [rank][L], entropies [L*H] (summed).
  std::int64_t reg_begin_, wish_begin_, score_begin_, entropy_begin_;
  torch::Tensor wish_;         // [1] on the device
  torch::Tensor values_;       // on the device
  torch::Tensor host_values_;  // after Finish; on a CPU the same tensor
  std::unique_ptr<collective::Work> work_;
};

}  // namespace entrain::trainer
