#include "model/weights.h"

#include <set>

#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::model {
namespace {

constexpr std::string_view kPrefix = "transformer.";

torch::Dtype TorchType(data::DType dtype) {
  switch (dtype) {
    case data::DType::kF32: return torch::kFloat32;
    case data::DType::kF64: return torch::kFloat64;
    case data::DType::kF16: return torch::kFloat16;
    case data::DType::kBf16: return torch::kBFloat16;
    case data::DType::kI32: return torch::kInt32;
    case data::DType::kI64: return torch::kInt64;
    case data::DType::kU8: return torch::kUInt8;
    case data::DType::kBool: return torch::kBool;
  }
  ENTRAIN_CHECK(false);
}

data::DType FileType(torch::Dtype dtype) {
  for (data::DType type : {data::DType::kF32, data::DType::kF64, data::DType::kF16, data::DType::kBf16, data::DType::kI32,
                           data::DType::kI64, data::DType::kU8, data::DType::kBool}) {
    if (TorchType(type) == dtype) return type;
  }
  ENTRAIN_CHECK_MSG(false, "a tensor type that safetensors files of ours do not hold");
}

// What Hugging Face files carry besides weights: causal masks, and the output matrix that is tied to wte.
bool IsPassedOver(std::string_view name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") || name == "lm_head.weight";
}

std::string ShapeText(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) StrAppend(&text, i == 0 ? "" : ",", shape[i]);
  return text + "]";
}

// The name under which the file holds `name`, or "".
std::string NameInFile(const data::SafetensorsFile& file, const std::string& name) {
  if (file.tensors().contains(name)) return name;
  const std::string bare = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
  return file.tensors().contains(bare) ? bare : "";
}

}  // namespace

data::TensorView ViewOf(const torch::Tensor& tensor) {
  ENTRAIN_CHECK(tensor.is_contiguous() && tensor.device().is_cpu());
  return {FileType(tensor.scalar_type()), tensor.sizes().vec(), static_cast<const char*>(tensor.const_data_ptr()),
          static_cast<std::int64_t>(tensor.nbytes())};
}

torch::Tensor ToTensor(const data::TensorView& view) {
  const auto options = at::TensorOptions().dtype(TorchType(view.dtype));
  torch::Tensor tensor = at::empty(view.shape, options);
  if (view.byte_size > 0) std::memcpy(tensor.mutable_data_ptr(), view.bytes, static_cast<std::size_t>(view.byte_size));
  return tensor;
}

absl::Status CopyFrom(const data::SafetensorsFile& file, const std::string& name, torch::Tensor target) {
  ENTRAIN_ASSIGN_OR_RETURN(const data::TensorView view, file.Get(name));
  if (at::IntArrayRef(view.shape) != target.sizes()) {
    return absl::InvalidArgumentError(
        StrCat("tensor ", name, " has shape ", ShapeText(view.shape), ", the model wants ", ShapeText(target.sizes())));
  }
  const torch::NoGradGuard no_grad;
  target.copy_(ToTensor(view));
  return absl::OkStatus();
}

absl::Status CheckTiedOutput(const data::SafetensorsFile& file) {
  const auto output = file.tensors().find("lm_head.weight");
  if (output == file.tensors().end()) return absl::OkStatus();
  const auto table = file.tensors().find(NameInFile(file, "transformer.wte.weight"));
  const auto bytes = [](const data::TensorView& view) {
    return std::string_view(view.bytes, static_cast<std::size_t>(view.byte_size));
  };
  if (table != file.tensors().end() && bytes(output->second) == bytes(table->second)) return absl::OkStatus();
  return absl::InvalidArgumentError("lm_head.weight differs from wte.weight; these models tie the output matrix to the token table");
}

absl::Status LoadWeights(const data::SafetensorsFile& file, Gpt* model) {
  ENTRAIN_RETURN_IF_ERROR(CheckTiedOutput(file));
  std::set<std::string> used;
  for (const auto& [name, tensor] : model->NamedParameters()) {
    const std::string found = NameInFile(file, name);
    if (found.empty()) return absl::InvalidArgumentError(StrCat("the weights lack tensor ", name));
    ENTRAIN_RETURN_IF_ERROR(CopyFrom(file, found, tensor));
    used.insert(found);
  }
  for (const auto& [name, tensor] : model->NamedState()) {
    const std::string found = NameInFile(file, name);
    if (found.empty()) continue;
    ENTRAIN_RETURN_IF_ERROR(CopyFrom(file, found, tensor));
    used.insert(found);
  }
  for (const auto& [name, view] : file.tensors()) {
    if (!used.contains(name) && !IsPassedOver(name)) {
      return absl::InvalidArgumentError(StrCat("tensor ", name, " of the weights has no place in this architecture"));
    }
  }
  return absl::OkStatus();
}

std::map<std::string, data::TensorView> WeightViews(const Gpt& model) {
  std::map<std::string, data::TensorView> views;
  for (const auto& [name, tensor] : model.NamedParameters()) views[name] = ViewOf(tensor);
  for (const auto& [name, tensor] : model.NamedState()) views[name] = ViewOf(tensor);
  return views;
}

}  // namespace entrain::model
