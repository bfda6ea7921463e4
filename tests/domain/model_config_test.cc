#include "domain/model_config.h"

#include <gtest/gtest.h>

#include <cmath>

namespace entrain::domain {
namespace {

TEST(ModelConfig, CountsTheParametersOfGpt2Small) {
  ModelConfig config;
  config.vocab_size = 50257;
  config.n_positions = 1024;
  EXPECT_EQ(ParameterCount(config), 124'439'808);
}

TEST(ModelConfig, RefusesHeadsThatDoNotDivideTheWidth) {
  ModelConfig config;
  config.n_embd = 64;
  config.n_head = 5;
  EXPECT_EQ(Validate(config).message(), "model.n_head must divide model.n_embd, but n_embd=64 and n_head=5");
}

TEST(EntropyBound, IsTheMeanOfTheRowMaxima) {
  // Row i can reach ln(i + 1): the paper's 3.88 at T = 128.
  double sum = 0.0;
  for (int row = 1; row <= 128; ++row) sum += std::log(row);
  EXPECT_NEAR(EntropyBoundNats(128), sum / 128, 1e-12);
  EXPECT_EQ(EntropyBoundNats(1), 0.0);
}

}  // namespace
}  // namespace entrain::domain
