#include "worker/trainer/probe_inputs.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/safetensors.h"
#include "model/weights.h"
#include "worker/trainer/hugging_face_config.h"

namespace entrain::trainer {
namespace {

using nlohmann::json;

absl::Status Wrong(const std::string& path, std::string_view what) {
  return absl::InvalidArgumentError(StrCat(path, ": ", what));
}

absl::Status ReadOptimiser(const json& object, const std::string& path, domain::TrainConfig* train) {
  train->schedule = domain::LrSchedule::kConstant;
  const auto section = object.find("optimiser");
  if (section == object.end()) return absl::OkStatus();
  train->lr = section->value("lr", train->lr);
  train->eps = section->value("eps", train->eps);
  train->weight_decay = section->value("weight_decay", train->weight_decay);
  train->clip = section->value("clip", train->clip);
  if (const auto betas = section->find("betas"); betas != section->end()) {
    train->beta1 = betas->at(0).get<double>();
    train->beta2 = betas->at(1).get<double>();
  }
  const std::string rule = section->value("decay_rule", "hf");
  if (rule != "hf" && rule != "linear") return Wrong(path, StrCat("optimiser.decay_rule \"", rule, "\" is not hf or linear"));
  train->decay_rule = rule == "hf" ? domain::DecayRule::kHf : domain::DecayRule::kLinear;
  return absl::OkStatus();
}

absl::Status CheckRange(const std::string& path, const char* name, const torch::Tensor& values_BT, std::int64_t vocab_size,
                        bool may_be_ignored) {
  const torch::Tensor ignored = values_BT.eq(-100).logical_and(torch::scalar_tensor(may_be_ignored));
  const torch::Tensor bad = values_BT.lt(0).logical_or(values_BT.ge(vocab_size)).logical_and(ignored.logical_not());
  if (!bad.any().item<bool>()) return absl::OkStatus();
  const std::int64_t value = values_BT.masked_select(bad)[0].item<std::int64_t>();
  return Wrong(path, StrCat(name, " holds ", value, ", the vocabulary has ", vocab_size, " tokens"));
}

// The next token is the label; nothing follows the last one.
torch::Tensor ShiftedLabels(const torch::Tensor& tokens_BT) {
  torch::Tensor labels_BT = at::full_like(tokens_BT, -100);
  const std::int64_t last = tokens_BT.size(1) - 1;
  labels_BT.narrow(1, 0, last).copy_(tokens_BT.narrow(1, 1, last));
  return labels_BT;
}

absl::StatusOr<ProbeTokens> ReadText(const std::string& path, const domain::ModelConfig& model) {
  if (model.vocab_size < 256 || model.vocab_size > 257) {
    return Wrong(path, StrCat("text is read as bytes, but the model's vocabulary has ", model.vocab_size,
                              " tokens; give tokens instead"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  if (text.size() < 2) return Wrong(path, "holds fewer than 2 bytes");
  const auto bytes = static_cast<std::int64_t>(text.size());
  const std::int64_t context = std::min(model.n_positions, bytes);
  const std::int64_t batch = bytes / context;
  torch::Tensor tokens_BT = at::empty({batch, context}, at::TensorOptions().dtype(torch::kInt64));
  auto* values = tokens_BT.mutable_data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < batch * context; ++i) values[i] = static_cast<unsigned char>(text[static_cast<std::size_t>(i)]);
  return ProbeTokens{tokens_BT, ShiftedLabels(tokens_BT)};
}

absl::StatusOr<torch::Tensor> ReadIntegers(const data::SafetensorsFile& file, const std::string& path, const char* name) {
  ENTRAIN_ASSIGN_OR_RETURN(const data::TensorView view, file.Get(name));
  const torch::Tensor values = model::ToTensor(view);
  if (!at::isIntegralType(values.scalar_type(), false)) return Wrong(path, StrCat(name, " must be integers"));
  if (values.dim() != 2 || values.numel() == 0) return Wrong(path, StrCat(name, " must have a shape [B,T]"));
  return values.to(torch::kInt64);
}

}  // namespace

absl::StatusOr<ProbeConfig> ReadProbeConfig(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  try {
    const json object = json::parse(text);
    if (!object.is_object()) return Wrong(path, "must be a JSON object");
    ProbeConfig config;
    ENTRAIN_ASSIGN_OR_RETURN(config.model, ParseArchitecture(text, path));
    ENTRAIN_RETURN_IF_ERROR(ReadOptimiser(object, path, &config.train));
    return config;
  } catch (const json::exception& error) {
    return Wrong(path, error.what());
  }
}

absl::StatusOr<ProbeTokens> ReadProbeTokens(const ProbeOptions& options, const domain::ModelConfig& model) {
  if (!options.text.empty()) return ReadText(options.text, model);
  const std::string& path = options.tokens;
  ENTRAIN_ASSIGN_OR_RETURN(const data::SafetensorsFile file, data::SafetensorsFile::Open(path));
  ProbeTokens result;
  ENTRAIN_ASSIGN_OR_RETURN(result.tokens_BT, ReadIntegers(file, path, "tokens"));
  if (file.tensors().contains("labels")) {
    ENTRAIN_ASSIGN_OR_RETURN(result.labels_BT, ReadIntegers(file, path, "labels"));
    if (result.labels_BT.sizes() != result.tokens_BT.sizes()) return Wrong(path, "tokens and labels differ in shape");
  } else {
    result.labels_BT = ShiftedLabels(result.tokens_BT);
  }
  if (result.tokens_BT.size(1) > model.n_positions) {
    return Wrong(path, StrCat("sequences of ", result.tokens_BT.size(1), " tokens, but n_positions is ", model.n_positions));
  }
  ENTRAIN_RETURN_IF_ERROR(CheckRange(path, "tokens", result.tokens_BT, model.vocab_size, false));
  ENTRAIN_RETURN_IF_ERROR(CheckRange(path, "labels", result.labels_BT, model.vocab_size, true));
  return result;
}

}  // namespace entrain::trainer
