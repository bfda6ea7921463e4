// What a probe reads: architecture, optimiser settings and tokens, in the forms that probe.h lists.
#pragma once

#include <torch/torch.h>

#include "absl/status/statusor.h"
#include "domain/run_config.h"
#include "worker/trainer/probe.h"

namespace entrain::trainer {

struct ProbeConfig {
  domain::ModelConfig model;
  // Optimiser fields only; constant rate.
  domain::TrainConfig train;
};

absl::StatusOr<ProbeConfig> ReadProbeConfig(const std::string& path);

struct ProbeTokens {
  torch::Tensor tokens_BT;  // int64
  torch::Tensor labels_BT;  // int64
};

// Checked against the vocabulary and the position table.
absl::StatusOr<ProbeTokens> ReadProbeTokens(const ProbeOptions& options, const domain::ModelConfig& model);

}  // namespace entrain::trainer
