#include "worker/trainer/probe_inputs.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/safetensors.h"
#include "data/tokenizer.h"
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

absl::Status CheckRange(const std::string& path, std::string_view name, const torch::Tensor& values_BT, std::int64_t vocab_size,
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

// The folder of the weights or of the config, if it keeps a tokeniser as Hugging Face's folders do; else empty.
std::string FolderWithTokenizer(const ProbeOptions& options) {
  namespace fs = std::filesystem;
  for (const fs::path given : {options.weights, options.config}) {
    const fs::path folder = fs::is_directory(given) ? given : given.parent_path();
    const auto holds = [&](const char* name) { return fs::exists(folder / name); };
    if (holds("tokenizer.json") || (holds("vocab.json") && holds("merges.txt"))) return folder.empty() ? "." : folder.string();
  }
  return "";
}

absl::StatusOr<std::unique_ptr<data::Tokenizer>> TextTokenizer(const ProbeOptions& options, std::int64_t vocab_size) {
  std::string name = options.tokenizer.empty() ? FolderWithTokenizer(options) : options.tokenizer;
  if (name.empty()) {
    if (vocab_size != 256 && vocab_size != 257) {
      return Wrong(options.text, StrCat("no tokeniser lies beside the weights, and bytes do not fit a vocabulary of ", vocab_size,
                                        " tokens; name one with --tokenizer"));
    }
    name = "bytes";
  }
  if (data::IsTrainedTokenizer(name)) return Wrong(options.text, StrCat("a model brings its tokeniser; ", name, " would be trained anew"));
  return data::OpenTokenizer(name);
}

absl::StatusOr<ProbeTokens> ReadText(const ProbeOptions& options, const domain::ModelConfig& model) {
  const std::string& path = options.text;
  ENTRAIN_ASSIGN_OR_RETURN(const auto tokenizer, TextTokenizer(options, model.vocab_size));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  std::vector<std::uint32_t> tokens;
  const absl::Status encoded = tokenizer->Encode(text, &tokens);
  if (!encoded.ok()) return Wrong(path, std::string(encoded.message()));
  const auto count = static_cast<std::int64_t>(tokens.size());
  if (count < 2) return Wrong(path, "holds fewer than 2 tokens");
  const std::int64_t context = std::min(model.n_positions, count);
  const std::int64_t batch = std::min(count / context, options.max_sequences);
  if (batch * context < count) {
    std::fprintf(stderr, "entrain-trainer probe: %s: %lld of %lld tokens are read, %lld sequences of %lld\n", path.c_str(),
                 static_cast<long long>(batch * context), static_cast<long long>(count), static_cast<long long>(batch),
                 static_cast<long long>(context));
  }
  torch::Tensor tokens_BT = at::empty({batch, context}, at::TensorOptions().dtype(torch::kInt64));
  std::copy_n(tokens.begin(), batch * context, tokens_BT.mutable_data_ptr<std::int64_t>());
  ENTRAIN_RETURN_IF_ERROR(CheckRange(path, StrCat("text as ", tokenizer->description()), tokens_BT, model.vocab_size, false));
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
  if (!options.text.empty()) return ReadText(options, model);
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
