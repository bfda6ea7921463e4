#include "model/initialisation.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "base/hash.h"
#include "base/random.h"

namespace entrain::model {
namespace {

// One Philox block makes four normals: two pairs of uniforms in (0, 1], Box-Muller with both its branches.
std::array<double, 4> NormalBlock(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  const auto words = Philox(seed, stream, counter);
  std::array<double, 4> normals;
  for (int pair = 0; pair < 2; ++pair) {
    const double u = (static_cast<double>(words[2 * pair]) + 1.0) * 0x1.0p-32;
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(words[2 * pair + 1]) * 0x1.0p-32;
    const double radius = std::sqrt(-2.0 * std::log(u));
    normals[2 * pair] = radius * std::cos(angle);
    normals[2 * pair + 1] = radius * std::sin(angle);
  }
  return normals;
}

template <typename Number>
void Fill(Number* values, std::int64_t count, double std, std::uint64_t seed, std::uint64_t stream) {
  at::parallel_for(0, (count + 3) / 4, 16384, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t block = begin; block < end; ++block) {
      const auto normals = NormalBlock(seed, stream, static_cast<std::uint64_t>(block));
      const std::int64_t first = 4 * block;
      for (std::int64_t i = 0; i < std::min<std::int64_t>(4, count - first); ++i) {
        values[first + i] = static_cast<Number>(std * normals[static_cast<std::size_t>(i)]);
      }
    }
  });
}

}  // namespace

torch::Tensor SeededNormal(at::IntArrayRef shape, double std, std::uint64_t seed, std::string_view name,
                           torch::Dtype dtype) {
  torch::Tensor values = at::empty(shape, at::TensorOptions().dtype(dtype));
  const std::uint64_t stream = Hash64(name);
  if (dtype == torch::kFloat64) {
    Fill(values.mutable_data_ptr<double>(), values.numel(), std, seed, stream);
  } else {
    Fill(values.mutable_data_ptr<float>(), values.numel(), std, seed, stream);
  }
  return values;
}

}  // namespace entrain::model
