#include "worker/trainer/probe.h"

#include <filesystem>
#include <map>

#include "base/status_macros.h"
#include "base/strings.h"
#include "data/safetensors.h"
#include "model/gpt.h"
#include "model/regulariser.h"
#include "model/weights.h"
#include "worker/trainer/optimizer.h"
#include "worker/trainer/probe_inputs.h"

namespace entrain::trainer {
namespace {

using torch::Tensor;

using Results = std::map<std::string, Tensor>;

Tensor AsVector(const Tensor& scalar) { return scalar.detach().reshape({1}); }

// Heads in each quarter of [0, largest head entropy]; all zero: all in the first.
Tensor QuarterCounts(const Tensor& entropy_LH) {
  const Tensor heads = entropy_LH.detach().reshape({-1}).to(torch::kFloat64);
  const double largest = heads.max().item<double>();
  Tensor counts = at::zeros({4}, at::TensorOptions().dtype(torch::kInt64));
  for (std::int64_t i = 0; i < heads.numel(); ++i) {
    const double share = largest > 0.0 ? heads[i].item<double>() / largest : 0.0;
    counts[std::min<std::int64_t>(3, static_cast<std::int64_t>(4.0 * share))] += 1;
  }
  return counts;
}

// Every form of the regulariser; where the config has none, with its constant initial threshold.
void AddRegularisers(const model::Gpt& gpt, const model::ForwardOutput& output, std::int64_t context, Results* results) {
  const domain::ModelConfig& config = gpt.config();
  model::RegulariserInputs inputs;
  inputs.entropy_LH = output.entropy_LH;
  inputs.entropy_LBH = output.entropy_LBHT.mean(3);
  inputs.entropy_eps_LBHT = output.entropy_eps_LBHT;
  inputs.theta_LH = gpt.Theta();
  if (inputs.theta_LH.defined()) {
    inputs.theta_LH = inputs.theta_LH.detach();
  } else {
    inputs.theta_LH = at::empty_like(output.entropy_LH);
    for (std::int64_t l = 0; l < config.n_layer; ++l) inputs.theta_LH[l].fill_(config.Layer(l).theta_init);
  }
  inputs.gamma = config.reg_gamma;
  inputs.max_entropy_nats = model::MaxEntropyNats(config, context);
  (*results)["reg_mean"] = AsVector(RegulariserValue(domain::Regulariser::kMean, inputs));
  (*results)["reg_mean_seq"] = AsVector(RegulariserValue(domain::Regulariser::kMeanSeq, inputs));
  (*results)["reg_authors"] = AsVector(RegulariserValue(domain::Regulariser::kAuthors, inputs));
  (*results)["reg_sum"] = AsVector(RegulariserValue(domain::Regulariser::kSum, inputs));
}

void AddForward(model::Gpt& gpt, const ProbeTokens& batch, bool gradients, Results* results) {
  model::ForwardOptions options;
  options.keep_logits = options.keep_query_entropy = options.keep_eps_entropy = true;
  const torch::AutoGradMode grad_mode(gradients);
  const model::ForwardOutput output = gpt.Forward(batch.tokens_BT, batch.labels_BT, options);
  (*results)["logits"] = output.logits_BTV.detach();
  (*results)["ce"] = AsVector(output.ce);
  (*results)["total"] = AsVector(output.total);
  (*results)["entropy"] = output.entropy_LBHT;
  (*results)["entropy_head"] = output.entropy_LH;
  (*results)["entropy_query"] = output.entropy_LBHT.mean(1);
  (*results)["entropy_eps_head"] = output.entropy_eps_LBHT.mean(at::IntArrayRef({1, 3}));
  (*results)["max_abs_score"] = output.max_abs_score_L;
  (*results)["quarters"] = QuarterCounts(output.entropy_LH);
  AddRegularisers(gpt, output, batch.tokens_BT.size(1), results);
  for (const auto& [name, tensor] : gpt.NamedState()) (*results)["buf_after_forward." + name] = tensor.clone();
  if (!gradients) return;
  output.total.backward();
  for (const auto& [name, tensor] : gpt.NamedParameters()) {
    (*results)["grad." + name] = tensor.grad().defined() ? tensor.grad().clone() : at::zeros_like(tensor);
  }
}

bool HasSpectralNorm(const model::Gpt& gpt) {
  for (const auto& [name, tensor] : gpt.NamedState()) {
    if (name.ends_with(".weight_u")) return true;
  }
  return false;
}

// Evaluation mode uses the vectors as stored, so it comes before any training forward.
void AddEvaluation(model::Gpt& gpt, const ProbeTokens& batch, Results* results) {
  const torch::NoGradGuard no_grad;
  model::ForwardOptions options;
  options.training = false;
  options.keep_logits = true;
  (*results)["eval_logits"] = gpt.Forward(batch.tokens_BT, {}, options).logits_BTV;
}

void AddSteps(model::Gpt& gpt, const ProbeTokens& batch, const ProbeConfig& config, std::int64_t steps, Results* results) {
  for (const auto& [name, tensor] : gpt.NamedParameters()) tensor.mutable_grad() = Tensor();
  AdamW optimizer(gpt.NamedParameters(), AdamWOptions::From(config.train));
  std::vector<double> totals, norms;
  for (std::int64_t step = 0; step < steps; ++step) {
    model::ForwardOptions options;
    options.backward = model::BackwardOptions{};
    const model::ForwardOutput output = gpt.Forward(batch.tokens_BT, batch.labels_BT, options);
    gpt.Backward(output);
    totals.push_back(output.total.item<double>());
    optimizer.SetSchedule(config.train.lr, 1.0);
    optimizer.Update(config.train.clip);
    optimizer.CountStep();
    norms.push_back(optimizer.GradientNorm());
  }
  for (const auto& [name, tensor] : gpt.NamedParameters()) (*results)["after." + name] = tensor.detach().clone();
  for (const auto& [name, tensor] : gpt.NamedState()) (*results)["buf_after." + name] = tensor.clone();
  const torch::NoGradGuard no_grad;
  totals.push_back(gpt.Forward(batch.tokens_BT, batch.labels_BT, {}).total.item<double>());
  const torch::Dtype dtype = gpt.NamedParameters().front().second.scalar_type();
  (*results)["step_total"] = at::tensor(totals, at::TensorOptions().dtype(torch::kFloat64)).to(dtype);
  (*results)["grad_norm"] = at::tensor(norms, at::TensorOptions().dtype(torch::kFloat64)).to(dtype);
}

absl::Status Write(const std::string& path, Results results) {
  std::map<std::string, data::TensorView> views;
  for (auto& [name, tensor] : results) {
    tensor = tensor.cpu().contiguous();
    views[name] = model::ViewOf(tensor);
  }
  return data::WriteSafetensors(path, views, {{"format", "pt"}});
}

}  // namespace

absl::Status RunProbe(const ProbeOptions& options) {
  if (options.tokens.empty() == options.text.empty()) {
    return absl::InvalidArgumentError("a probe reads either tokens or text");
  }
  ENTRAIN_ASSIGN_OR_RETURN(const ProbeConfig config, ReadProbeConfig(options.config));
  ENTRAIN_ASSIGN_OR_RETURN(ProbeTokens batch, ReadProbeTokens(options, config.model));
  batch.tokens_BT = batch.tokens_BT.to(torch::Device(options.device));
  batch.labels_BT = batch.labels_BT.to(torch::Device(options.device));
  const bool folder = std::filesystem::is_directory(options.weights);
  const std::string weights_path = folder ? options.weights + "/model.safetensors" : options.weights;
  ENTRAIN_ASSIGN_OR_RETURN(const data::SafetensorsFile weights, data::SafetensorsFile::Open(weights_path));
  model::Gpt gpt(config.model, /*seed=*/0, options.float64 ? torch::kFloat64 : torch::kFloat32, torch::Device(options.device));
  const auto load = [&]() -> absl::Status {
    const absl::Status loaded = model::LoadWeights(weights, &gpt);
    return loaded.ok() ? loaded : absl::Status(loaded.code(), StrCat(weights_path, ": ", std::string(loaded.message())));
  };
  ENTRAIN_RETURN_IF_ERROR(load());
  Results results;
  if (HasSpectralNorm(gpt)) AddEvaluation(gpt, batch, &results);
  AddForward(gpt, batch, options.gradients, &results);
  if (options.steps > 0) {
    ENTRAIN_RETURN_IF_ERROR(load());
    AddSteps(gpt, batch, config, options.steps, &results);
  }
  return Write(options.out, std::move(results));
}

}  // namespace entrain::trainer
