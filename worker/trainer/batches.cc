#include "worker/trainer/batches.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::trainer {

absl::StatusOr<Batches> Batches::Create(const data::TokenDataset* dataset, const domain::RunConfig& config, int rank,
                                        int world_size, torch::Device device) {
  if (dataset->vocab_size() > config.model.vocab_size) {
    return absl::InvalidArgumentError(StrCat("dataset ", dataset->ref().ToString(), " has a vocabulary of ",
                                             dataset->vocab_size(), ", but model.vocab_size is ", config.model.vocab_size));
  }
  if (config.train.batch_size % world_size != 0) {
    return absl::InvalidArgumentError(StrCat("train.batch_size ", config.train.batch_size,
                                             " is not a multiple of the world size ", world_size));
  }
  ENTRAIN_ASSIGN_OR_RETURN(data::SequenceOrder order,
                           data::SequenceOrder::Create(dataset->TokenCount(data::Split::kTrain), config.train.context,
                                                       config.train.seed));
  return Batches(dataset, std::move(order), config.train, rank, world_size, device);
}

Batches::Batches(const data::TokenDataset* dataset, data::SequenceOrder order, const domain::TrainConfig& train, int rank,
                 int world_size, torch::Device device)
    : dataset_(dataset),
      device_(device),
      order_(std::move(order)),
      context_(train.context),
      batch_size_(train.batch_size),
      accumulation_(train.accumulation),
      rank_batch_size_(train.batch_size / world_size),
      rank_(rank) {
  available_windows_ = std::max<std::int64_t>(0, (dataset->TokenCount(data::Split::kValidation) - 1) / context_);
  validation_windows_ = std::min(available_windows_, train.eval_batches * train.batch_size);
}

Batch Batches::Training(std::int64_t step, std::int64_t micro) const {
  const std::int64_t first = ((step - 1) * accumulation_ + micro) * batch_size_ + rank_ * rank_batch_size_;
  std::vector<std::int64_t> begins(static_cast<std::size_t>(rank_batch_size_));
  for (std::int64_t b = 0; b < rank_batch_size_; ++b) begins[static_cast<std::size_t>(b)] = order_.Begin(first + b);
  return Read(data::Split::kTrain, begins);
}

Batch Batches::Validation(std::int64_t begin, std::int64_t end) const {
  ENTRAIN_CHECK(0 <= begin && begin < end && end <= validation_windows_);
  std::vector<std::int64_t> begins;
  for (std::int64_t window = begin; window < end; ++window) {
    begins.push_back(window * available_windows_ / validation_windows_ * context_);
  }
  return Read(data::Split::kValidation, begins);
}

Batch Batches::Read(data::Split split, const std::vector<std::int64_t>& begins) const {
  const auto sequences = static_cast<std::int64_t>(begins.size());
  // From pinned memory a copy to the GPU does not hold up the host.
  const auto options = torch::TensorOptions().dtype(torch::kInt64).pinned_memory(device_.is_cuda());
  Batch batch{torch::empty({sequences, context_}, options), torch::empty({sequences, context_}, options)};
  std::int64_t* tokens = batch.tokens_BT.data_ptr<std::int64_t>();
  std::int64_t* labels = batch.labels_BT.data_ptr<std::int64_t>();
  std::vector<std::int32_t> window(static_cast<std::size_t>(context_) + 1);
  for (const std::int64_t begin : begins) {
    dataset_->Read(split, begin, context_ + 1, window.data());
    tokens = std::copy(window.begin(), window.end() - 1, tokens);
    labels = std::copy(window.begin() + 1, window.end(), labels);
  }
  if (device_.is_cpu()) return batch;
  return {batch.tokens_BT.to(device_, /*non_blocking=*/true), batch.labels_BT.to(device_, /*non_blocking=*/true)};
}

}  // namespace entrain::trainer
