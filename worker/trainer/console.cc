#include "worker/trainer/console.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

namespace entrain::trainer {

Console::Console(std::int64_t steps) : steps_(steps), interval_(std::max<std::int64_t>(1, steps / 20)) {}

void Console::Show(const domain::EntropySample& sample) const {
  if (sample.step != 1 && sample.step != steps_ && sample.step % interval_ != 0 && std::isfinite(sample.loss)) return;
  const auto [low, high] = std::minmax_element(sample.entropy_nats.begin(), sample.entropy_nats.end());
  const double mean = std::accumulate(sample.entropy_nats.begin(), sample.entropy_nats.end(), 0.0) /
                      static_cast<double>(std::max<std::size_t>(1, sample.entropy_nats.size()));
  std::printf("step %lld/%lld  loss %.4f  head entropy %.2f (%.2f..%.2f) nats  lr %.2e  %.0f tokens/s\n",
              static_cast<long long>(sample.step), static_cast<long long>(steps_), sample.loss, mean,
              low == sample.entropy_nats.end() ? 0.0 : static_cast<double>(*low),
              high == sample.entropy_nats.end() ? 0.0 : static_cast<double>(*high), sample.lr, sample.tokens_per_second);
  std::fflush(stdout);
}

void Console::Show(const domain::Evaluation& evaluation) const {
  std::printf("step %lld/%lld  held-out loss %.4f  perplexity %.3f\n", static_cast<long long>(evaluation.step),
              static_cast<long long>(steps_), evaluation.loss, std::exp(evaluation.loss));
  std::fflush(stdout);
}

}  // namespace entrain::trainer
