#include "worker/trainer/gradient_buckets.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <map>

#include "base/check.h"
#include "worker/trainer/tensor_reduction.h"

namespace entrain::trainer {
namespace {

// The first bucket is small: it leaves early and opens the pipe.
constexpr std::int64_t kFirstBucketFloats = (1 << 20) / 4;
constexpr std::int64_t kBucketFloats = (8 << 20) / 4;

}  // namespace

class GradientBuckets::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientBuckets* buckets, std::size_t bucket) : buckets_(buckets), bucket_(bucket) {}
  void operator()(const torch::Tensor&) override { buckets_->OnGradient(bucket_); }

 private:
  GradientBuckets* buckets_;
  std::size_t bucket_;
};

GradientBuckets::GradientBuckets(const AdamW& optimizer, const AdamW::NamedTensors& parameters,
                                 collective::Collective* collective)
    : collective_(collective), flat_(optimizer.flat_gradient()) {
  const std::map<std::string, torch::Tensor> by_name(parameters.begin(), parameters.end());
  for (const FlatSegment& segment : optimizer.segments()) {
    const std::int64_t limit = buckets_.size() <= 1 ? kFirstBucketFloats : kBucketFloats;
    if (buckets_.empty() || segment.offset - buckets_.back().begin >= limit) {
      if (!buckets_.empty()) buckets_.back().end = segment.offset;
      buckets_.push_back({segment.offset, flat_.numel(), 0, 0, nullptr});
    }
    ++buckets_.back().parameters;
    torch::Tensor parameter = by_name.at(segment.name);
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::make_unique<Hook>(this, buckets_.size() - 1));
    hooked_.push_back(std::move(parameter));
  }
}

GradientBuckets::~GradientBuckets() {
  for (torch::Tensor& parameter : hooked_) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientBuckets::Arm() {
  for (Bucket& bucket : buckets_) bucket.missing = bucket.parameters;
  next_ = 0;
  early_launches_ = 0;
  armed_ = true;
}

void GradientBuckets::OnGradient(std::size_t bucket) {
  if (!armed_) return;
  --buckets_[bucket].missing;
  LaunchComplete();
  early_launches_ = static_cast<std::int64_t>(next_);
}

void GradientBuckets::LaunchComplete() {
  for (; next_ < buckets_.size() && buckets_[next_].missing <= 0; ++next_) {
    Bucket& bucket = buckets_[next_];
    bucket.work = StartSum(collective_, flat_.narrow(0, bucket.begin, bucket.end - bucket.begin));
  }
}

absl::Status GradientBuckets::Finish() {
  ENTRAIN_CHECK(armed_);
  armed_ = false;
  for (Bucket& bucket : buckets_) bucket.missing = 0;
  LaunchComplete();
  absl::Status status;
  for (Bucket& bucket : buckets_) {
    // Every work is waited for, also after a failure: the buffer must not be touched while one is under way.
    status.Update(FinishSum(bucket.work.get(), flat_));
    bucket.work.reset();
  }
  return status;
}

}  // namespace entrain::trainer
