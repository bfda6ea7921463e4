// The CUDA attention kernels' source on the CPU, against plain loops, over the table of shapes: every type, tile size and mode.
#include <torch/torch.h>

#include <cmath>
#include <string>

#include "gtest/gtest.h"
#include "model/initialisation.h"
#include "model/kernels/entropy_attention.h"
#include "tests/model/cuda/emulated_attention.h"

namespace entrain::kernels::cuda {
namespace {

using torch::Tensor;

struct Case {
  std::int64_t batch, heads, tokens, width;
  double scale = 0.0;  // 0: 1 / sqrt(width)
  bool causal = true;
  bool exact = false;  // small integers, whose scores no type rounds
};

// A tile is 16 to 128 rows: below, at, just above and at several of them.
const Case kCases[] = {
    {1, 1, 1, 32},   {2, 2, 1, 64, 0.0, false}, {1, 2, 3, 32},   {2, 1, 17, 64},  {1, 1, 64, 64},  {1, 1, 65, 64},
    {1, 2, 129, 64}, {1, 1, 200, 64, 0.0, false}, {1, 1, 257, 32}, {1, 3, 96, 96},  {1, 1, 130, 96}, {1, 1, 128, 128},
    {1, 1, 150, 128}, {2, 2, 40, 24},            {1, 1, 70, 40, 0.0, false},       {1, 1, 90, 80},
    {1, 2, 64, 32, 0.25, true, true},            // moderate scores
    {1, 2, 64, 32, 8.0, true, true},             // collapsed rows
    {1, 1, 50, 32, 4096.0, true, true},          // far beyond the range of exp
    {1, 1, 70, 32, 1e-6},                        // uniform rows
};

template <typename Element>
Tensor Rounded(const Tensor& x) {
  Tensor rounded = x.contiguous().clone();
  float* data = rounded.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < rounded.numel(); ++i) data[i] = ToFloat(RoundTo(data[i], static_cast<Element*>(nullptr)));
  return rounded;
}

template <typename Element>
EmulatedProblem MakeProblem(const Case& c) {
  const auto random = [&](const char* name) {
    const Tensor x = model::SeededNormal({c.batch, c.heads, c.tokens, c.width}, 1.0, 11, name, torch::kFloat32);
    return Rounded<Element>(c.exact ? x.round() : x);
  };
  EmulatedProblem problem{random("q"), random("k"), random("v"), random("d_out"), {}, 0.0f, c.causal};
  problem.d_entropy_BHT = random("g").select(3, 0).contiguous();
  problem.scale = static_cast<float>(c.scale != 0.0 ? c.scale : 1.0 / std::sqrt(static_cast<double>(c.width)));
  return problem;
}

EmulatedResult Expected(const EmulatedProblem& problem) {
  const auto leaf = [](const Tensor& x) { return x.to(torch::kFloat64).set_requires_grad(true); };
  const Tensor q = leaf(problem.q), k = leaf(problem.k), v = leaf(problem.v);
  AttentionOptions options;
  options.scale = problem.scale;
  options.causal = problem.causal;
  options.backend = "loops";
  const AttentionResult result = EntropyAttention(q, k, v, options);
  Tensor loss = at::zeros({}, torch::kFloat64);
  if (problem.d_out.defined()) loss = loss + (result.out * problem.d_out.to(torch::kFloat64)).sum();
  if (problem.d_entropy_BHT.defined()) loss = loss + (result.entropy_BHT * problem.d_entropy_BHT.to(torch::kFloat64)).sum();
  loss.backward();
  return {result.out.detach(), result.entropy_BHT.detach(), {}, {}, result.max_abs_score_BH, q.grad(), k.grad(), v.grad()};
}

void ExpectNear(const Tensor& got, const Tensor& expected, double share, const std::string& what) {
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  const Tensor wide = expected.to(torch::kFloat64);
  const double largest = std::max(1.0, wide.abs().max().item<double>());
  const double deviation = (got.to(torch::kFloat64) - wide).abs().max().item<double>();
  EXPECT_LE(deviation, share * largest) << what << ", largest " << largest;
}

// What a type's rounding of P, dS and the results may move, as a share of the largest number.
struct Tolerance {
  double out, statistics, gradient;
};

void ExpectSame(const EmulatedResult& got, const EmulatedResult& expected, const Tolerance& tolerance, const std::string& what) {
  ExpectNear(got.out, expected.out, tolerance.out, what + " out");
  if (expected.entropy.defined()) {
    ExpectNear(got.entropy, expected.entropy, tolerance.statistics, what + " entropy");
    ExpectNear(got.max_abs, expected.max_abs, tolerance.statistics, what + " max_abs");
  }
  ExpectNear(got.dq, expected.dq, tolerance.gradient, what + " dq");
  ExpectNear(got.dk, expected.dk, tolerance.gradient, what + " dk");
  ExpectNear(got.dv, expected.dv, tolerance.gradient, what + " dv");
}

std::string Describe(const Case& c, const char* type) {
  return std::string(type) + " B" + std::to_string(c.batch) + " H" + std::to_string(c.heads) + " T" + std::to_string(c.tokens) + " D" +
         std::to_string(c.width) + " scale " + std::to_string(c.scale);
}

template <typename Math, template <int> typename TilesOf>
EmulatedResult RunCase(const EmulatedProblem& problem, bool deterministic, ThreadOrder order = ThreadOrder::kForwards) {
  const std::int64_t width = problem.q.size(3);
  if (width <= 32) return Emulate<Math, TilesOf<32>, true>(problem, deterministic, order);
  if (width <= 64) return Emulate<Math, TilesOf<64>, true>(problem, deterministic, order);
  if (width <= 96) return Emulate<Math, TilesOf<96>, true>(problem, deterministic, order);
  return Emulate<Math, TilesOf<128>, true>(problem, deterministic, order);
}

template <int kWidth>
using Tiles80 = AttentionTiles<80, kWidth>;
template <int kWidth>
using Tiles90 = AttentionTiles<90, kWidth>;

constexpr Tolerance kFloat{4e-6, 4e-6, 1.6e-5};
constexpr Tolerance kBf16{1.2e-2, 1e-5, 1.6e-2};
constexpr Tolerance kFp16{1.5e-3, 1e-5, 2e-3};

TEST(AttentionEmulation, Float32AgreesWithPlainLoops) {
  for (const Case& c : kCases) {
    const EmulatedProblem problem = MakeProblem<float>(c);
    ExpectSame(RunCase<SimtMath, FloatTiles>(problem, true), Expected(problem), kFloat, Describe(c, "float"));
  }
}

TEST(AttentionEmulation, Bf16AgreesWithPlainLoops) {
  for (const Case& c : kCases) {
    const EmulatedProblem problem = MakeProblem<Bf16>(c);
    const EmulatedResult expected = Expected(problem);
    const EmulatedResult deterministic = RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, true);
    ExpectSame(deterministic, expected, kBf16, Describe(c, "bf16"));
    const EmulatedResult fast = RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, false);
    ExpectSame(fast, expected, kBf16, Describe(c, "bf16 fast"));
    EXPECT_TRUE(fast.dk.equal(deterministic.dk)) << Describe(c, "bf16");
    ExpectSame(RunCase<TensorCoreMath<Bf16>, Tiles90>(problem, true), expected, kBf16, Describe(c, "bf16 sm_90"));
  }
}

TEST(AttentionEmulation, Fp16AgreesWithPlainLoops) {
  for (const Case& c : kCases) {
    if (c.scale > 100.0) continue;  // its gradients exceed the type's range
    const EmulatedProblem problem = MakeProblem<Fp16>(c);
    ExpectSame(RunCase<TensorCoreMath<Fp16>, Tiles90>(problem, false), Expected(problem), kFp16, Describe(c, "fp16"));
  }
}

TEST(AttentionEmulation, GradientsFromOneSideOnly) {
  const Case c{1, 2, 75, 64};
  for (const bool through_out : {false, true}) {
    EmulatedProblem problem = MakeProblem<Bf16>(c);
    (through_out ? problem.d_entropy_BHT : problem.d_out) = Tensor();
    EmulatedProblem exact = problem;
    const EmulatedResult expected = Expected(problem);
    ExpectSame(RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, true), expected, kBf16, "bf16");
    ExpectSame(RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, false), expected, kBf16, "bf16 fast");
    ExpectSame(RunCase<SimtMath, FloatTiles>(exact, true), expected, kFloat, "float");
  }
}

// The instantiation without entropy: the same attention, no statistics.
TEST(AttentionEmulation, WithoutEntropyTheOutputIsTheSame) {
  EmulatedProblem problem = MakeProblem<Bf16>({1, 2, 75, 64});
  problem.d_entropy_BHT = Tensor();
  const auto with = Emulate<TensorCoreMath<Bf16>, Tiles80<64>, true>(problem, true, ThreadOrder::kForwards);
  const auto without = Emulate<TensorCoreMath<Bf16>, Tiles80<64>, false>(problem, true, ThreadOrder::kForwards);
  EXPECT_TRUE(with.out.equal(without.out));
  EXPECT_TRUE(with.max_abs.equal(without.max_abs));
  EXPECT_TRUE(with.dq.equal(without.dq));
  EXPECT_TRUE(with.dk.equal(without.dk));
  EXPECT_TRUE(with.dv.equal(without.dv));
  EXPECT_EQ(without.entropy.abs().max().item<float>(), 0.0f);
}

// A missing barrier, or a tile loaded while it is in use, would show.
TEST(AttentionEmulation, TheOrderOfThreadsDoesNotMatter) {
  for (const bool deterministic : {true, false}) {
    const EmulatedProblem problem = MakeProblem<Bf16>({1, 1, 290, 64});
    const auto forwards = RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, deterministic, ThreadOrder::kForwards);
    const auto backwards = RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, deterministic, ThreadOrder::kBackwards);
    EXPECT_TRUE(forwards.out.equal(backwards.out));
    EXPECT_TRUE(forwards.entropy.equal(backwards.entropy));
    EXPECT_TRUE(forwards.dq.equal(backwards.dq));
    EXPECT_TRUE(forwards.dk.equal(backwards.dk));
    EXPECT_TRUE(forwards.dv.equal(backwards.dv));
  }
  const EmulatedProblem exact = MakeProblem<float>({1, 1, 150, 128});
  const auto forwards = RunCase<SimtMath, FloatTiles>(exact, true, ThreadOrder::kForwards);
  const auto backwards = RunCase<SimtMath, FloatTiles>(exact, true, ThreadOrder::kBackwards);
  EXPECT_TRUE(forwards.dq.equal(backwards.dq));
  EXPECT_TRUE(forwards.dk.equal(backwards.dk));
}

TEST(AttentionEmulation, OneKeyHasNoEntropyAndNoGradientThroughScores) {
  for (const bool causal : {true, false}) {
    const EmulatedProblem problem = MakeProblem<Bf16>({2, 2, 1, 64, 0.0, causal});
    const auto run = RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, true);
    EXPECT_EQ(run.entropy.abs().max().item<float>(), 0.0f);
    EXPECT_EQ(run.dq.abs().max().item<float>(), 0.0f);
    EXPECT_EQ(run.dk.abs().max().item<float>(), 0.0f);
    EXPECT_TRUE(run.dv.equal(problem.d_out));
  }
}

TEST(AttentionEmulation, EnormousScoresStayFinite) {
  const auto run = RunCase<SimtMath, FloatTiles>(MakeProblem<float>({1, 2, 33, 32, 1e29, true, true}), true);
  for (const Tensor& tensor : {run.out, run.entropy, run.max_abs, run.dv}) EXPECT_TRUE(tensor.isfinite().all().item<bool>());
  EXPECT_GE(run.entropy.min().item<float>(), 0.0f);
}

TEST(AttentionEmulation, NonFiniteInputsShowInTheResult) {
  EmulatedProblem problem = MakeProblem<Bf16>({1, 1, 8, 32});
  problem.q[0][0][3][2] = std::nan("");
  const auto run = RunCase<TensorCoreMath<Bf16>, Tiles80>(problem, true);
  EXPECT_TRUE(std::isnan(run.out[0][0][3][0].item<float>()));
  EXPECT_TRUE(std::isnan(run.max_abs.item<float>()));
  EXPECT_TRUE(std::isfinite(run.out[0][0][2][0].item<float>()));
}

// Two keys whose scores differ by `gap`: p = 1 / (1 + e^-gap).
TEST(AttentionEmulation, NearlyCollapsedRowsKeepTheirDigits) {
  for (const double gap : {6.0, 12.0, 20.0}) {
    const Tensor ones = at::ones({1, 1, 2, 32});
    Tensor k = at::full({1, 1, 2, 32}, 320.0);
    k.select(2, 1).add_(gap / 32.0);
    const EmulatedProblem problem{ones, k, ones, ones, {}, 1.0f, true};
    const double entropy = RunCase<SimtMath, FloatTiles>(problem, true).entropy[0][0][1].item<double>();
    const double rest = std::exp(-gap), expected = std::log1p(rest) + gap * rest / (1.0 + rest);
    EXPECT_NEAR(entropy, expected, 2e-5 * expected + 0x1.0p-23) << gap;
  }
}

// What the emulator is for: it must notice what a GPU would not tolerate.
TEST(BlockEmulator, FindsAReadBeforeTheWait) {
  alignas(16) static const float source[4] = {1.0f, 2.0f, 3.0f, 4.0f};
  BlockEmulator block(32, 64, ThreadOrder::kForwards);
  float early = 0.0f, late = 0.0f;
  block.Run([&](const EmulatedThread& thread, unsigned char* shared) {
    if (thread.index() == 0) thread.CopyAsync16(shared, source, true);
    thread.CommitCopies();
    if (thread.index() == 0) early = reinterpret_cast<float*>(shared)[2];
    thread.WaitCopies<0>();
    thread.Sync();
    if (thread.index() == 31) late = reinterpret_cast<float*>(shared)[2];
  });
  EXPECT_TRUE(std::isnan(early));
  EXPECT_EQ(late, 3.0f);
}

TEST(BlockEmulator, FindsLanesThatPart) {
  BlockEmulator block(32, 16, ThreadOrder::kForwards);
  EXPECT_THROW(block.Run([](const EmulatedThread& thread, unsigned char*) {
    if (thread.lane() < 16) {
      thread.SyncWarp();
    } else {
      (void)thread.Shuffle(1.0f, 0);
    }
  }),
               std::logic_error);
  EXPECT_THROW(block.Run([](const EmulatedThread& thread, unsigned char*) {
    if (thread.lane() != 7) thread.Sync();
  }),
               std::logic_error);
}

}  // namespace
}  // namespace entrain::kernels::cuda
