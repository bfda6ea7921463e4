#include "model/regulariser.h"

#include <cmath>

#include "base/check.h"

namespace entrain::model {
namespace {

using torch::Tensor;

Tensor Penalty(const Tensor& entropy, const Tensor& theta, const RegulariserInputs& inputs) {
  const Tensor delta = entropy - theta * inputs.max_entropy_nats;
  const Tensor outside = delta.detach().abs().gt(inputs.gamma * inputs.max_entropy_nats);
  return delta.square() * outside;
}

}  // namespace

double MaxEntropyNats(const domain::ModelConfig& config, std::int64_t context) {
  return std::log(static_cast<double>(config.emax_context != 0 ? config.emax_context : context));
}

bool UsesEpsilonEntropy(domain::Regulariser form) {
  return form == domain::Regulariser::kSum || form == domain::Regulariser::kAuthors;
}

Tensor RegulariserValue(domain::Regulariser form, const RegulariserInputs& inputs) {
  const std::int64_t layers = inputs.theta_LH.size(0), heads = inputs.theta_LH.size(1);
  switch (form) {
    case domain::Regulariser::kNone:
      break;
    case domain::Regulariser::kMean:
      return Penalty(inputs.entropy_LH, inputs.theta_LH, inputs).mean();
    case domain::Regulariser::kMeanSeq:
      return Penalty(inputs.entropy_LBH, inputs.theta_LH.unsqueeze(1), inputs).mean();
    case domain::Regulariser::kSum:
    case domain::Regulariser::kAuthors: {
      const bool own = form == domain::Regulariser::kSum;
      const Tensor theta_LH = own ? inputs.theta_LH : inputs.theta_LH.narrow(0, 0, 1);
      const Tensor penalty = Penalty(inputs.entropy_eps_LBHT, theta_LH.view({-1, 1, heads, 1}), inputs);
      return penalty.sum() / static_cast<double>(layers * heads);
    }
  }
  return at::zeros({}, inputs.theta_LH.options());
}

}  // namespace entrain::model
