// Every numerical case of tests/fixtures (its README defines each tensor), through the probe, in float32 and in float64.
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/safetensors.h"
#include "gtest/gtest.h"
#include "model/weights.h"
#include "worker/trainer/probe.h"

namespace entrain {
namespace {

using torch::Tensor;

// The same cases on a GPU are a program of their own (gpu_parity_test).
#ifndef PARITY_DEVICE
#define PARITY_DEVICE "cpu"
#endif
constexpr char kDevice[] = PARITY_DEVICE;

// Tests run beside each other; torch's own threads would only fight over the cores.
const bool kOneThread = (at::set_num_threads(1), true);

// A tolerance of ten times the case's own float32 noise, plus this share of the tensor's largest value, for tensors whose noise happened
// to be nearly nothing.
constexpr double kFloat32Share = 8.0 * 0x1.0p-24;
// Expected tensors are stored rounded to float32; beside that a float64 run must agree to this share of the largest value.
constexpr double kStoredRounding = 0x1.0p-24 * 1.01;
constexpr double kFloat64Share = 2e-9;

constexpr std::int64_t kSteps = 3;

std::vector<std::string> Cases() {
  std::vector<std::string> cases;
  for (const auto& entry : std::filesystem::directory_iterator(ENTRAIN_FIXTURES)) {
    if (std::filesystem::exists(entry.path() / "expected.safetensors")) cases.push_back(entry.path().filename().string());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

struct Deviation {
  std::string tensor;
  double largest = 0.0;
  double tolerance_share = 0.0;  // largest deviation over its tolerance
};

class ParityTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (torch::Device(kDevice).is_cuda() && !torch::cuda::is_available()) {
      GTEST_SKIP() << "no GPU: torch::cuda::is_available() is false";
    }
    folder_ = std::string(ENTRAIN_FIXTURES) + "/" + GetParam();
    std::ifstream scalars(folder_ + "/scalars.json");
    scalars_ = nlohmann::json::parse(scalars);
    std::ifstream config(folder_ + "/config.json");
    const nlohmann::json settings = nlohmann::json::parse(config);
    width_ = settings["model"]["n_embd"].get<std::int64_t>();
    lr_ = settings["optimiser"]["lr"].get<double>();
    eps_ = settings["optimiser"]["eps"].get<double>();
  }

  data::SafetensorsFile Open(const std::string& path) {
    auto file = data::SafetensorsFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return std::move(file).value();
  }

  data::SafetensorsFile Probe(bool float64) {
    trainer::ProbeOptions options;
    options.config = folder_ + "/config.json";
    options.weights = folder_ + "/model.safetensors";
    options.tokens = folder_ + "/tokens.safetensors";
    options.out = testing::TempDir() + "/parity-" + kDevice + GetParam() + (float64 ? "-f64" : "-f32") + ".safetensors";
    options.gradients = true;
    options.device = kDevice;
    options.steps = kSteps;
    options.float64 = float64;
    const absl::Status status = trainer::RunProbe(options);
    EXPECT_TRUE(status.ok()) << status;
    return Open(options.out);
  }

  // The parts of a tensor that rounding alone decides, after a step of Adam: the key third of c_attn.bias and the temperature of query 0
  // have no gradient, and Adam makes a step of up to lr from the noise.
  Tensor WellConditioned(const std::string& name, const Tensor& tensor) const {
    if (!name.starts_with("after.")) return tensor;
    if (name.ends_with("c_attn.bias")) {
      return at::cat({tensor.narrow(0, 0, width_), tensor.narrow(0, 2 * width_, width_)});
    }
    if (name.ends_with("attn.temperature")) return tensor.narrow(1, 1, tensor.size(1) - 1);
    return tensor;
  }

  Tensor Tolerance(const std::string& name, const Tensor& expected, bool float64) const {
    const double largest = expected.numel() == 0 ? 0.0 : expected.abs().max().item<double>();
    if (float64) return expected.abs() * kStoredRounding + largest * kFloat64Share + 1e-15;
    const double floor = scalars_["fp32_floor"].value(name, 0.0);
    return at::full_like(expected, 10.0 * floor + largest * kFloat32Share);
  }

  // Adam divides a gradient by its own size, so an entry whose gradient is itself near the float32 noise moves by a share of lr that the
  // noise decides. 0 for all other entries.
  Tensor StepNoise(const std::string& name, const data::SafetensorsFile& expected) const {
    const std::string parameter = name.substr(std::string("after.").size());
    const double floor = scalars_["fp32_floor"].value("grad." + parameter, 0.0);
    const auto view = expected.Get("grad." + parameter);
    const Tensor gradient = WellConditioned(name, model::ToTensor(*view).to(torch::kFloat64)).abs();
    const Tensor moved = (10.0 * floor / (gradient + eps_)).clamp_max(1.0) * (kSteps * lr_);
    return at::where(gradient.lt(1000.0 * floor), moved, at::zeros_like(moved));
  }

  Deviation Compare(const std::string& name, const data::SafetensorsFile& actual, const data::SafetensorsFile& expected_file,
                    bool float64) {
    const data::TensorView& expected_view = expected_file.tensors().at(name);
    const auto view = actual.Get(name);
    if (!view.ok()) {
      ADD_FAILURE() << view.status();
      return {};
    }
    const Tensor expected = WellConditioned(name, model::ToTensor(expected_view).to(torch::kFloat64));
    const Tensor got = WellConditioned(name, model::ToTensor(*view).to(torch::kFloat64));
    EXPECT_EQ(got.sizes(), expected.sizes()) << name;
    if (got.numel() == 0 || got.sizes() != expected.sizes()) return {name};
    const Tensor difference = (got - expected).abs();
    EXPECT_TRUE(got.isfinite().all().item<bool>()) << name;
    Tensor tolerance = Tolerance(name, expected, float64);
    if (!float64 && name.starts_with("after.")) tolerance += StepNoise(name, expected_file);
    const Tensor excess = difference / tolerance.clamp_min(1e-300);
    const Deviation deviation{name, difference.max().item<double>(), excess.max().item<double>()};
    EXPECT_LE(deviation.tolerance_share, 1.0) << name << ": largest deviation " << deviation.largest;
    return deviation;
  }

  void CompareAll(bool float64) {
    const data::SafetensorsFile actual = Probe(float64);
    const data::SafetensorsFile expected = Open(folder_ + "/expected.safetensors");
    Deviation worst, largest;
    for (const auto& [name, view] : expected.tensors()) {
      const Deviation deviation = Compare(name, actual, expected, float64);
      if (deviation.tolerance_share >= worst.tolerance_share) worst = deviation;
      if (deviation.largest >= largest.largest) largest = deviation;
    }
    std::printf("%-16s %s: %zu tensors; largest deviation %.2e (%s); nearest to its tolerance %.2f (%s, %.2e)\n",
                GetParam().c_str(), float64 ? "float64" : "float32", expected.tensors().size(), largest.largest,
                largest.tensor.c_str(), worst.tolerance_share, worst.tensor.c_str(), worst.largest);
    if (float64) CompareScalars(actual);
  }

  // The scalars are stored with all their digits.
  void CompareScalars(const data::SafetensorsFile& actual) {
    for (const auto& [name, value] : scalars_["scalars_f64"].items()) {
      const auto view = actual.Get(name);
      ASSERT_TRUE(view.ok()) << view.status();
      const Tensor got = model::ToTensor(*view).to(torch::kFloat64);
      const auto expected = value.is_array() ? value.get<std::vector<double>>() : std::vector<double>{value.get<double>()};
      ASSERT_EQ(static_cast<std::size_t>(got.numel()), expected.size()) << name;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const double number = got[static_cast<std::int64_t>(i)].item<double>();
        EXPECT_NEAR(number, expected[i], 1e-9 * std::max(1.0, std::abs(expected[i]))) << name << " " << i;
      }
    }
  }

  std::string folder_;
  nlohmann::json scalars_;
  std::int64_t width_ = 0;
  double lr_ = 0.0;
  double eps_ = 0.0;
};

TEST_P(ParityTest, Float32) { CompareAll(false); }
TEST_P(ParityTest, Float64) { CompareAll(true); }

INSTANTIATE_TEST_SUITE_P(Cases, ParityTest, testing::ValuesIn(Cases()), [](const auto& test) { return test.param; });

TEST(Fixtures, AllAreThere) { EXPECT_GE(Cases().size(), 16u); }

}  // namespace
}  // namespace entrain
