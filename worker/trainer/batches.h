// Which tokens a rank sees: a pure function of (seed, step, micro-batch, rank).
//
// Shape suffixes: B batch of this rank, T tokens of a sequence.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "data/token_dataset.h"
#include "domain/run_config.h"

namespace entrain::trainer {

struct Batch {
  torch::Tensor tokens_BT;  // int64
  torch::Tensor labels_BT;  // int64, the next token of each
};

class Batches {
 public:
  // The dataset must outlive this; batches are made on `device`. INVALID_ARGUMENT when the data does not fit the model or the world size.
  static absl::StatusOr<Batches> Create(const data::TokenDataset* dataset, const domain::RunConfig& config, int rank,
                                        int world_size, torch::Device device);

  // Micro-batch `micro` of the step that makes `step` steps complete (the first is 1).
  Batch Training(std::int64_t step, std::int64_t micro) const;

  // Held-out windows, spread evenly over the validation split; 0 when it is shorter than one.
  std::int64_t validation_windows() const { return validation_windows_; }
  // Windows [begin, end).
  Batch Validation(std::int64_t begin, std::int64_t end) const;

 private:
  Batches(const data::TokenDataset* dataset, data::SequenceOrder order, const domain::TrainConfig& train, int rank,
          int world_size, torch::Device device);
  Batch Read(data::Split split, const std::vector<std::int64_t>& begins) const;

  const data::TokenDataset* dataset_;
  torch::Device device_;
  data::SequenceOrder order_;
  std::int64_t context_;
  std::int64_t batch_size_;
  std::int64_t accumulation_;
  std::int64_t rank_batch_size_;
  std::int64_t rank_;
  std::int64_t available_windows_ = 0;
  std::int64_t validation_windows_ = 0;
};

}  // namespace entrain::trainer
