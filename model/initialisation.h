// Seeded initial values. Every number is a pure function of (seed, parameter name, index), whatever the thread count.
#pragma once

#include <torch/torch.h>

#include <string_view>

namespace entrain::model {

// N(0, std) of the given shape.
torch::Tensor SeededNormal(at::IntArrayRef shape, double std, std::uint64_t seed, std::string_view name, torch::Dtype dtype);

}  // namespace entrain::model
