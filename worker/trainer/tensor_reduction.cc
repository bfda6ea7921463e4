#include "worker/trainer/tensor_reduction.h"

#include "base/check.h"
#include "worker/trainer/device.h"

namespace entrain::trainer {

std::unique_ptr<collective::Work> StartSum(collective::Collective* collective, const torch::Tensor& values) {
  ENTRAIN_CHECK(values.is_contiguous() && values.scalar_type() == torch::kFloat32);
  if (values.is_cuda()) collective->SetComputeStream(ComputeStream());
  return collective->AllReduceSum(values.mutable_data_ptr<float>(), values.numel());
}

}  // namespace entrain::trainer
