// The optimiser's flat gradient buffer, cut into buckets that leave for the reduction as soon as the backward pass has filled them, so
// that communication overlaps the rest of it. On a GPU they leave from autograd's thread while the training thread waits in backward().
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "worker/collective/collective.h"
#include "worker/trainer/optimizer.h"

namespace entrain::trainer {

class GradientBuckets {
 public:
  // Parameters keep their hooks until this is destroyed; the optimiser's buffers must outlive it.
  GradientBuckets(const AdamW& optimizer, const AdamW::NamedTensors& parameters, collective::Collective* collective);
  ~GradientBuckets();
  GradientBuckets(const GradientBuckets&) = delete;
  GradientBuckets& operator=(const GradientBuckets&) = delete;

  // Before the last micro-batch's backward: from here on a complete bucket is reduced. Every rank arms at the same micro-batch.
  void Arm();
  // After it: sends what no gradient reached, and waits for all; on a GPU the compute stream waits, not the host. What is computed
  // afterwards sees sums over the ranks.
  absl::Status Finish();

  std::int64_t bucket_count() const { return static_cast<std::int64_t>(buckets_.size()); }
  // Buckets that left before the backward pass ended, in the last step.
  std::int64_t early_launches() const { return early_launches_; }

 private:
  class Hook;
  struct Bucket {
    std::int64_t begin = 0;  // in elements of the flat buffer
    std::int64_t end = 0;
    std::int64_t parameters = 0;
    std::int64_t missing = 0;  // parameters whose gradient is not complete yet
    std::unique_ptr<collective::Work> work;
  };
  void OnGradient(std::size_t bucket);
  void LaunchComplete();

  collective::Collective* collective_;
  torch::Tensor flat_;
  std::vector<torch::Tensor> hooked_;
  std::vector<Bucket> buckets_;
  std::size_t next_ = 0;  // buckets leave in order, so that every rank reduces the same ones together
  bool armed_ = false;
  std::int64_t early_launches_ = 0;
};

}  // namespace entrain::trainer
