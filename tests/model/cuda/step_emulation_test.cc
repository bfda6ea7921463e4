// The CUDA kernels of the step's other parts on the CPU, against stock operators in double precision.
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "model/initialisation.h"
#include "model/kernels/cuda/step_launch.h"
#include "tests/model/cuda/block_emulator.h"

namespace entrain::kernels::cuda {
namespace {

using torch::Tensor;

// Numbers as a kernel holds them; starts at a 16-byte boundary. Rows of `columns` may be `stride` apart.
template <typename Element>
class Matrix {
 public:
  Matrix(std::int64_t rows, std::int64_t columns, std::int64_t stride = 0)
      : rows_(rows), columns_(columns), stride_(stride == 0 ? columns : stride), storage_(static_cast<std::size_t>(rows * stride_) + 16) {}
  explicit Matrix(const Tensor& x, std::int64_t stride = 0) : Matrix(x.size(0), x.size(1), stride) {
    const Tensor wide = x.to(torch::kFloat32).contiguous();
    Visit([&](std::int64_t i, Element* place) { *place = FromFloat(wide.const_data_ptr<float>()[i]); });
  }
  Tensor Read() {
    Tensor x = torch::empty({rows_, columns_});
    Visit([&](std::int64_t i, Element* place) { x.mutable_data_ptr<float>()[i] = AsFloat(*place); });
    return x;
  }
  Element* data() {
    const auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return storage_.data() + (16 - address % 16) % 16 / sizeof(Element);
  }
  RowsOf<Element> rows() { return {data(), stride_}; }
  RowsOf<const Element> const_rows() { return {data(), stride_}; }

 private:
  static float AsFloat(float x) { return x; }
  static float AsFloat(Bf16 x) { return ToFloat(x); }
  static float AsFloat(Fp16 x) { return ToFloat(x); }
  static Element FromFloat(float x) {
    if constexpr (std::is_same_v<Element, float>) {
      return x;
    } else {
      return RoundTo(x, static_cast<Element*>(nullptr));
    }
  }
  template <typename On>
  void Visit(const On& on) {
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < columns_; ++c) on(r * columns_ + c, data() + r * stride_ + c);
  }

  std::int64_t rows_, columns_, stride_;
  std::vector<Element> storage_;
};

template <typename Block, typename Run>
void ForBlocks(int blocks, const Run& run) {
  for (const ThreadOrder order : {ThreadOrder::kForwards}) {
    BlockEmulator emulator(Block::kThreads, Block::kSharedBytes, order);
    for (int tile = 0; tile < blocks; ++tile) {
      emulator.Run([&](const EmulatedThread& thread, unsigned char* shared) { run(thread, BlockPlace{tile, 0, 0}, shared); });
    }
  }
}

template <typename Block, typename Call>
void RunAll(const Call& call, int blocks) {
  ForBlocks<Block>(blocks, [&](const EmulatedThread& thread, const BlockPlace& place, unsigned char* shared) {
    Block::Run(thread, call, place, shared);
  });
}

Tensor Random(std::vector<std::int64_t> shape, const char* name, double scale = 1.0) {
  return model::SeededNormal(shape, 1.0, 5, name, torch::kFloat32).detach() * scale;
}

void ExpectClose(const Tensor& got, const Tensor& expected, double share, const std::string& what) {
  const double largest = std::max(expected.abs().max().item<double>(), 1e-30);
  EXPECT_LE((got.to(torch::kFloat64) - expected.to(torch::kFloat64)).abs().max().item<double>(), share * largest) << what;
}

constexpr double kSingle = 3e-6, kReduced = 1e-2;

template <typename Element, int kPieceSize>
void CheckCrossEntropy(std::int64_t rows, std::int64_t vocabulary, std::int64_t columns, double scale, double tolerance) {
  Matrix<Element> logits(Random({rows, columns}, "logits", scale));
  const Tensor held = logits.Read();
  Tensor labels = torch::arange(rows).mul(7).remainder(vocabulary);
  if (rows > 2) labels[1] = -100;
  const Tensor leaf = held.narrow(1, 0, vocabulary).to(torch::kFloat64).contiguous().set_requires_grad(true);
  at::cross_entropy_loss(leaf, labels).backward();
  Tensor loss = torch::full({rows}, 99.0f);
  const Tensor weight = labels.ge(0).sum().to(torch::kFloat32).reciprocal();
  using Block = CrossEntropyRow<Element, kPieceSize, 4>;
  const CrossEntropyCall<Element> call{logits.rows(), static_cast<int>(rows), static_cast<int>(vocabulary), static_cast<int>(columns),
                                       labels.const_data_ptr<std::int64_t>(), loss.mutable_data_ptr<float>(),
                                       weight.const_data_ptr<float>()};
  RunAll<Block>(call, static_cast<int>(rows));
  const std::string what = std::to_string(rows) + " x " + std::to_string(vocabulary);
  ExpectClose(loss, at::cross_entropy_loss(leaf.detach(), labels, {}, at::Reduction::None), kSingle, what);
  ExpectClose(logits.Read().narrow(1, 0, vocabulary), leaf.grad(), tolerance, what);
  const Tensor padding = logits.Read().narrow(1, vocabulary, columns - vocabulary);
  EXPECT_TRUE(padding.equal(at::zeros_like(padding))) << what;
}

TEST(StepEmulation, CrossEntropyIsAutogradsInDouble) {
  CheckCrossEntropy<float, 1>(3, 5, 8, 1.0, kSingle);
  CheckCrossEntropy<float, 4>(3, 300, 320, 3.0, kSingle);
  CheckCrossEntropy<float, 4>(2, 2048, 2048, 30.0, 2e-5);
  CheckCrossEntropy<Bf16, 8>(4, 1003, 1024, 3.0, kReduced);
  CheckCrossEntropy<Fp16, 1>(2, 7, 9, 1.0, kReduced);
}

TEST(StepEmulation, CrossEntropyShowsWhatIsNotFinite) {
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const std::int64_t place : {0, 9, 299}) {
      Tensor values = Random({2, 300}, "logits");
      values[1][place] = bad;
      Matrix<float> logits(values);
      const Tensor labels = torch::full({2}, 3, torch::kInt64);
      Tensor loss = torch::zeros({2});
      const CrossEntropyCall<float> call{logits.rows(), 2, 300, 300, labels.const_data_ptr<std::int64_t>(),
                                         loss.mutable_data_ptr<float>(), nullptr};
      RunAll<CrossEntropyRow<float, 4, 2>>(call, 2);
      EXPECT_TRUE(std::isfinite(loss[0].item<float>()));
      EXPECT_FALSE(std::isfinite(loss[1].item<float>())) << bad << " at " << place;
    }
  }
}

template <typename Arithmetic, typename Share>
void CheckResidualNorm(std::int64_t rows, std::int64_t width, bool norm, bool delta, bool bias, double tolerance) {
  ASSERT_LE(width, Share::kWidest);
  const auto leaf = [&](const Tensor& x) { return x.to(torch::kFloat64).set_requires_grad(true); };
  Matrix<float> residual(Random({rows, width}, "residual"), width + 4);
  Matrix<Arithmetic> delta_rows(Random({rows, width}, "delta")), normed(rows, width), d_delta(rows, width);
  Matrix<float> bias_row(Random({1, width}, "bias")), gain_row(Random({1, width}, "gain")), shift_row(Random({1, width}, "shift"));
  Matrix<float> sum(rows, width);
  const Tensor x = leaf(residual.Read()), y = leaf(delta_rows.Read()), b = leaf(bias_row.Read().view({width}));
  const Tensor gain = leaf(gain_row.Read().view({width})), shift = leaf(shift_row.Read().view({width}));
  Tensor expected_sum = x;
  if (delta) expected_sum = expected_sum + y;
  if (bias) expected_sum = expected_sum + b;
  const Tensor expected = norm ? at::layer_norm(expected_sum, {width}, gain, shift, 1e-5) : expected_sum;
  Matrix<Arithmetic> d_normed(Random({rows, width}, "d_normed"));
  Matrix<float> d_sum(Random({rows, width}, "d_past"));
  const Tensor d_past = d_sum.Read().to(torch::kFloat64);
  Tensor loss = (expected_sum * d_past).sum();
  if (norm) loss = loss + (expected * d_normed.Read().to(torch::kFloat64)).sum();
  loss.backward();

  std::vector<float> mean(static_cast<std::size_t>(rows)), inverse(static_cast<std::size_t>(rows));
  const ResidualNormCall<Arithmetic> forward{static_cast<int>(rows), static_cast<int>(width), residual.const_rows(),
                                             delta ? delta_rows.const_rows() : RowsOf<const Arithmetic>{nullptr, 0},
                                             bias ? bias_row.data() : nullptr, norm ? gain_row.data() : nullptr, shift_row.data(),
                                             1e-5f, sum.rows(), normed.rows(), mean.data(), inverse.data()};
  using Forward = ResidualNormRows<Arithmetic, Share>;
  RunAll<Forward>(forward, TilesFor(static_cast<int>(rows), Forward::kRows));
  const std::string what = std::to_string(rows) + " x " + std::to_string(width);
  if (delta) ExpectClose(sum.Read(), expected_sum, kSingle, what + " sum");
  if (norm) ExpectClose(normed.Read(), expected, tolerance, what + " normed");

  const int blocks = 3;
  Tensor partial = torch::full({blocks, 3 * width}, 99.0f);
  const ResidualNormGradientCall<Arithmetic> backward{
      static_cast<int>(rows), static_cast<int>(width), d_normed.const_rows(), delta ? sum.const_rows() : residual.const_rows(),
      mean.data(), inverse.data(), norm ? gain_row.data() : nullptr, d_sum.rows(), d_delta.rows(), partial.mutable_data_ptr<float>()};
  using Backward = ResidualNormGradientRows<Arithmetic, Share>;
  ForBlocks<Backward>(blocks, [&](const EmulatedThread& thread, const BlockPlace& place, unsigned char* shared) {
    Backward::Run(thread, backward, place, blocks, shared);
  });
  ExpectClose(d_sum.Read(), x.grad(), kSingle, what + " d_sum");
  ExpectClose(d_delta.Read(), x.grad(), tolerance, what + " d_delta");
  Tensor sums = torch::full({3 * width}, 2.0f);
  RunAll<ColumnSums>(ColumnSumsCall{partial.const_data_ptr<float>(), blocks, static_cast<int>(3 * width), static_cast<int>(3 * width),
                                    sums.mutable_data_ptr<float>(), 1},
                     TilesFor(static_cast<int>(3 * width), ColumnSums::kColumns));
  sums.sub_(2.0f);
  if (norm) ExpectClose(sums.narrow(0, 0, width), gain.grad(), kSingle, what + " d_gain");
  if (norm) ExpectClose(sums.narrow(0, width, width), shift.grad(), kSingle, what + " d_shift");
  ExpectClose(sums.narrow(0, 2 * width, width), x.grad().sum(0), kSingle, what + " d_bias");
}

TEST(StepEmulation, ResidualNormAndItsGradientAreAutogradsInDouble) {
  CheckResidualNorm<float, RowShare<1, kNormPiece, 2>>(5, 192, true, true, true, kSingle);
  CheckResidualNorm<float, RowShare<1, kNormPiece, 6>>(30, 768, true, true, false, kSingle);
  CheckResidualNorm<Bf16, RowShare<1, kNormPiece, 6>>(27, 772 - 4, true, true, true, kReduced);
  CheckResidualNorm<Fp16, RowShare<1, kNormPiece, 8>>(9, 1000, true, false, false, kReduced);
  CheckResidualNorm<Bf16, RowShare<8, kNormPiece, 2>>(7, 1600, true, true, true, kReduced);
  CheckResidualNorm<float, RowShare<8, 1, 8>>(4, 37, true, true, true, kSingle);
  CheckResidualNorm<float, RowShare<1, kNormPiece, 2>>(33, 40, false, true, true, kSingle);
}

Tensor Activated(Activation kind, const Tensor& x, const Tensor& slope) {
  switch (kind) {
    case Activation::kIdentity: return x * 1.0;
    case Activation::kRelu: return x.relu();
    case Activation::kLeakyRelu: return at::prelu(x, slope);
    case Activation::kGeluErf: return at::gelu(x);
    case Activation::kGeluTanh: return at::gelu(x, "tanh");
  }
  return {};
}

template <Activation kKind, typename Element, int kPieceSize>
void CheckActivation(std::int64_t rows, std::int64_t columns, double tolerance) {
  Matrix<Element> x(Random({rows, columns}, "x", 2.0)), y(rows, columns), d_y(Random({rows, columns}, "d_y")), d_x(rows, columns);
  Matrix<float> bias(Random({1, columns}, "bias"));
  Tensor slope = torch::full({1}, 0.3f);
  const auto leaf = [](const Tensor& values) { return values.to(torch::kFloat64).set_requires_grad(true); };
  const Tensor x_leaf = leaf(x.Read()), bias_leaf = leaf(bias.Read().view({columns})), slope_leaf = leaf(slope);
  const Tensor expected = Activated(kKind, x_leaf + bias_leaf, slope_leaf);
  (expected * d_y.Read().to(torch::kFloat64)).sum().backward();

  const int row_blocks = 2;
  using Forward = BiasActivationRows<kKind, Element, kPieceSize>;
  using Backward = BiasActivationGradientRows<kKind, Element, kPieceSize>;
  const int strips = TilesFor(static_cast<int>(columns), Forward::kColumns);
  const BiasActivationCall<Element> forward{static_cast<int>(rows), static_cast<int>(columns), x.const_rows(), bias.data(),
                                            slope.const_data_ptr<float>(), y.rows()};
  Tensor partial = torch::full({row_blocks, columns}, 99.0f), slope_partial = torch::full({row_blocks * strips}, 99.0f);
  const BiasActivationGradientCall<Element> backward{static_cast<int>(rows), static_cast<int>(columns), x.const_rows(), bias.data(),
                                                     slope.const_data_ptr<float>(), d_y.const_rows(), d_x.rows(),
                                                     partial.mutable_data_ptr<float>(), slope_partial.mutable_data_ptr<float>()};
  for (int row_block = 0; row_block < row_blocks; ++row_block) {
    const auto at = [&](BlockPlace place) { return BlockPlace{place.tile, row_block, 0}; };
    ForBlocks<Forward>(strips, [&](const EmulatedThread& thread, const BlockPlace& place, unsigned char* shared) {
      Forward::Run(thread, forward, at(place), row_blocks, shared);
    });
    ForBlocks<Backward>(strips, [&](const EmulatedThread& thread, const BlockPlace& place, unsigned char* shared) {
      Backward::Run(thread, backward, at(place), row_blocks, shared);
    });
  }
  const std::string what = "activation " + std::to_string(static_cast<int>(kKind)) + " of " + std::to_string(columns);
  ExpectClose(y.Read(), expected, tolerance, what);
  ExpectClose(d_x.Read(), x_leaf.grad(), tolerance, what + " gradient");
  ExpectClose(partial.sum(0), bias_leaf.grad(), kSingle, what + " bias");
  if (kKind == Activation::kLeakyRelu) ExpectClose(slope_partial.sum(), slope_leaf.grad().sum(), 1e-5, what + " slope");
}

TEST(StepEmulation, BiasAndActivationAreAutogradsInDouble) {
  CheckActivation<Activation::kIdentity, float, 4>(19, 200, kSingle);
  CheckActivation<Activation::kRelu, float, 4>(3, 128, kSingle);
  CheckActivation<Activation::kLeakyRelu, float, 1>(21, 37, kSingle);
  CheckActivation<Activation::kLeakyRelu, Bf16, 8>(9, 320, kReduced);
  CheckActivation<Activation::kGeluErf, float, 4>(17, 132, kSingle);
  CheckActivation<Activation::kGeluErf, Bf16, 8>(17, 264, kReduced);
  CheckActivation<Activation::kGeluTanh, Fp16, 8>(10, 72, kReduced);
  CheckActivation<Activation::kGeluTanh, float, 1>(2, 5, kSingle);
}

template <int kPieceSize>
void CheckEmbedding(std::int64_t batch, std::int64_t context, std::int64_t width) {
  const std::int64_t vocabulary = 11, positions = context + 3, rows = batch * context;
  Matrix<float> table(Random({vocabulary, width}, "table")), position_table(Random({positions, width}, "positions")), x(rows, width);
  const Tensor tokens = torch::arange(rows).mul(5).remainder(7);
  const EmbeddingCall forward{tokens.const_data_ptr<std::int64_t>(), static_cast<int>(rows), static_cast<int>(context),
                              static_cast<int>(width), table.const_rows(), position_table.const_rows(), x.rows()};
  RunAll<EmbeddingRows<kPieceSize>>(forward, TilesFor(static_cast<int>(rows), 8));
  const auto leaf = [](const Tensor& values) { return values.to(torch::kFloat64).set_requires_grad(true); };
  const Tensor table_leaf = leaf(table.Read()), position_leaf = leaf(position_table.Read());
  const Tensor expected =
      (at::embedding(table_leaf, tokens).view({batch, context, width}) + position_leaf.narrow(0, 0, context)).view({rows, width});
  ExpectClose(x.Read(), expected, kSingle, "embedding");
  Matrix<float> d_x(Random({rows, width}, "d_x")), d_table(torch::ones({vocabulary, width})), d_positions(torch::full({positions, width}, 9.0f));
  (expected * d_x.Read().to(torch::kFloat64)).sum().backward();
  const auto [sorted, order] = at::sort(tokens, /*stable=*/true, 0, false);
  const EmbeddingGradientCall backward{sorted.const_data_ptr<std::int64_t>(), order.const_data_ptr<std::int64_t>(),
                                       static_cast<int>(rows), static_cast<int>(context), static_cast<int>(width),
                                       static_cast<int>(positions), 0, d_x.const_rows(), d_table.rows(), d_positions.rows()};
  RunAll<TokenGradients<kPieceSize>>(backward, static_cast<int>(rows));
  RunAll<PositionGradients<kPieceSize>>(backward, static_cast<int>(positions));
  ExpectClose(d_table.Read() - 1.0, table_leaf.grad(), kSingle, "table gradient");
  ExpectClose(d_positions.Read(), position_leaf.grad(), kSingle, "position gradient");
}

TEST(StepEmulation, EmbeddingIsAutogradsInDouble) {
  CheckEmbedding<4>(3, 5, 40);
  CheckEmbedding<1>(2, 9, 7);
}

// Parameters after steps of torch's own AdamW, with clipping in between.
TEST(StepEmulation, AdamWWithClippingIsTorchs) {
  const std::int64_t count = 3 * 1024, decay_end = 2048;
  const SchedulePlaces schedule_at{0, 1, 2, 3};
  const ClipPlaces clip_at{0, 1, 2};
  Matrix<float> parameter(Random({1, count}, "p")), first(1, count), second(1, count);
  Matrix<Bf16> copy(1, count);
  const auto leaf = [&](std::int64_t begin, std::int64_t size) {
    return parameter.Read().narrow(1, begin, size).to(torch::kFloat64).clone().set_requires_grad(true);
  };
  const Tensor decayed = leaf(0, decay_end), plain = leaf(decay_end, count - decay_end);
  const double lr = 3e-3, max_norm = 1.0, scale = 0.25;
  torch::optim::AdamW decaying({decayed}, torch::optim::AdamWOptions(lr).betas({0.9, 0.95}).weight_decay(0.1));
  torch::optim::AdamW others({plain}, torch::optim::AdamWOptions(lr).betas({0.9, 0.95}).weight_decay(0.0));
  for (int step = 1; step <= 3; ++step) {
    Matrix<float> gradient(Random({1, count}, "g", step == 2 ? 1e-3 : 1.0));
    double schedule[4] = {lr, 1.0 - std::pow(0.9, step), 1.0 - std::pow(0.95, step), scale}, clip[3] = {}, partial[2] = {};
    const GradientNormCall norm{gradient.data(), 3, partial, 2, max_norm, schedule, clip, schedule_at, clip_at};
    RunAll<GradientSquares>(norm, 2);
    RunAll<ClipFactor>(norm, 1);
    const Tensor wide = gradient.Read().to(torch::kFloat64) * scale;
    const double expected_norm = wide.norm().item<double>();
    EXPECT_NEAR(clip[0], expected_norm, 1e-6 * expected_norm);
    EXPECT_EQ(clip[2], 1.0);
    const Tensor clipped = wide * std::min(1.0, max_norm / (expected_norm + 1e-6));
    decayed.mutable_grad() = clipped.narrow(1, 0, decay_end).clone();
    plain.mutable_grad() = clipped.narrow(1, decay_end, count - decay_end).clone();
    decaying.step();
    others.step();
    const AdamWCall<Bf16> update{parameter.data(), first.data(), second.data(), gradient.data(), copy.data(), count, decay_end,
                                 0.1f, 0.95f, 0.05f, 1e-8f, 0.1f, schedule, clip, schedule_at, clip_at};
    RunAll<AdamWPieces<Bf16>>(update, 3);
    const Tensor expected = torch::cat({decayed.detach(), plain.detach()}, 1);
    ExpectClose(parameter.Read(), expected, 1e-6, "step " + std::to_string(step));
    ExpectClose(copy.Read(), expected, 4e-3, "copy");
  }
}

TEST(StepEmulation, AnUpdateThatIsNotFiniteIsSkipped) {
  Matrix<float> parameter(Random({1, 1024}, "p")), first(1, 1024), second(1, 1024);
  Tensor values = Random({1, 1024}, "g");
  values[0][77] = std::numeric_limits<float>::infinity();
  Matrix<float> gradient(values);
  double schedule[4] = {1.0, 1.0, 1.0, 1.0}, clip[3] = {}, partial[1] = {};
  const GradientNormCall norm{gradient.data(), 1, partial, 1, 1.0, schedule, clip, {0, 1, 2, 3}, {0, 1, 2}};
  RunAll<GradientSquares>(norm, 1);
  RunAll<ClipFactor>(norm, 1);
  EXPECT_EQ(clip[2], 0.0);
  const Tensor before = parameter.Read();
  RunAll<AdamWPieces<float>>(AdamWCall<float>{parameter.data(), first.data(), second.data(), gradient.data(), nullptr, 1024, 0, 0.1f,
                                              0.95f, 0.05f, 1e-8f, 0.0f, schedule, clip, {0, 1, 2, 3}, {0, 1, 2}},
                             1);
  EXPECT_TRUE(parameter.Read().equal(before));
  EXPECT_EQ(first.Read().abs().max().item<float>(), 0.0f);
}

}  // namespace
}  // namespace entrain::kernels::cuda
