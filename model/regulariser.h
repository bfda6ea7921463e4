// The forms of the entropy regulariser in circulation (docs/GLOSSARY.md). With E an entropy and theta its head's threshold:
//     delta = E - theta * E_max;  penalty = delta^2 where |delta| > gamma * E_max, else 0.
#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "domain/model_config.h"

namespace entrain::model {

// ln(context), or ln(emax_context) when that is set.
double MaxEntropyNats(const domain::ModelConfig& config, std::int64_t context);

// Whether the form acts on the entropy with the epsilon, per query, instead of the exact mean.
bool UsesEpsilonEntropy(domain::Regulariser form);

struct RegulariserInputs {
  torch::Tensor entropy_LH;        // mean: of the whole batch
  torch::Tensor entropy_LBH;       // mean_seq: mean over queries
  torch::Tensor entropy_eps_LBHT;  // sum, authors
  torch::Tensor theta_LH;
  double gamma = 0.0;
  double max_entropy_nats = 0.0;
};

// The form's value, not multiplied by lambda; only the inputs that it acts on need be defined. `authors` uses layer 0's thresholds for
// every layer.
torch::Tensor RegulariserValue(domain::Regulariser form, const RegulariserInputs& inputs);

}  // namespace entrain::model
