// A program outside the project: the installed header, library and CMake package are all it sees.
#include <entrain/entropy_attention.h>

#include <cmath>
#include <cstdio>

int main() {
  const torch::Tensor q = torch::zeros({1, 1, 4, 16}, torch::requires_grad());
  const auto result = entrain::kernels::EntropyAttention(q, q, q);
  result.entropy_BHT.sum().backward();
  for (int i = 0; i < 4; ++i) {
    const float entropy = result.entropy_BHT[0][0][i].item<float>();
    if (std::abs(entropy - std::log(static_cast<float>(i + 1))) > 1e-6f) return 1;
  }
  std::printf("uniform rows have entropy ln(i + 1); gradient %g\n", q.grad().abs().max().item<double>());
}
