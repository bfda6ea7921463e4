// The table of sizes over which every attention back end is held against plain loops, and the back ends with the precision that each
// promises. A new back end is tested by one line in BackendsUnderTest().
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "model/kernels/entropy_attention.h"

namespace entrain::kernels {

struct AttentionCase {
  std::int64_t batch, heads, tokens, width;
  // Small integers times a power of two: every score is exact in float32 and bfloat16, however large.
  bool exact = false;
  double scale = 0.0;  // 0: 1 / sqrt(width)
  bool causal = true;
  // q, k and v as the thirds of a joint projection, rows 3 * heads * width apart.
  bool strided = false;
};

const std::vector<AttentionCase>& AttentionCases();
std::string Describe(const AttentionCase& c);
// Seeded normal numbers (whole ones in an exact case) of the type, [batch, heads, tokens, width].
torch::Tensor CaseTensor(const AttentionCase& c, const std::string& name, torch::Dtype dtype = torch::kFloat32);
AttentionInputs CaseInputs(const AttentionCase& c, torch::Dtype dtype, torch::Device device = torch::kCPU);
double CaseScale(const AttentionCase& c);

struct Evaluation {
  torch::Tensor out, entropy, max_abs, dq, dk, dv;
};

// Which gradients reach the outputs.
enum class Through { kOut, kEntropy, kBoth };

// Runs a back end itself, without autograd; the gradients of the outputs are CaseTensor "weight_out" and its first column. Results are
// on the CPU.
Evaluation RunBackend(const AttentionBackend& backend, const AttentionInputs& inputs, const AttentionCase& c, Through through);

// got within `share` of the largest expected number (at least 1); gradients within 4 times that.
void ExpectNear(const torch::Tensor& got, const torch::Tensor& expected, double share, const std::string& what);

// Errors allowed of the outputs (share of the largest): statistics are held in float32 or better whatever the storage.
struct Precision {
  torch::Dtype dtype;
  double out, statistics;
};
struct BackendUnderTest {
  const AttentionBackend* backend;
  torch::Device device;
  std::vector<Precision> precisions;
};
// Those that this machine can run.
std::vector<BackendUnderTest> BackendsUnderTest();

void ExpectSame(const Evaluation& got, const Evaluation& expected, const Precision& precision, const std::string& what);

}  // namespace entrain::kernels
