#include "worker/trainer/tensor_reduction.h"

#include "base/check.h"
#include "absl/status/status.h"
#include "worker/trainer/device.h"

namespace entrain::trainer {

std::unique_ptr<collective::Work> StartSum(collective::Collective* collective, const torch::Tensor& values) {
  ENTRAIN_CHECK(values.is_contiguous() && values.scalar_type() == torch::kFloat32);
  if (values.is_cuda()) collective->SetComputeStream(ComputeStream());
  return collective->AllReduceSum(values.mutable_data_ptr<float>(), values.numel());
}

absl::Status FinishSum(collective::Work* work, const torch::Tensor& values) {
  return values.is_cuda() ? work->WaitOn(ComputeStream()) : work->Wait();
}

}  // namespace entrain::trainer
