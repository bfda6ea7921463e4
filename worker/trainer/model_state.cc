#include "worker/trainer/model_state.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::trainer {
namespace {

using torch::Tensor;

std::string ShapeText(const std::vector<std::int64_t>& shape) { return StrCat("[", absl::StrJoin(shape, ","), "]"); }

absl::StatusOr<torch::Dtype> TorchType(data::DType dtype, std::string_view name) {
  switch (dtype) {
    case data::DType::kF32: return torch::kFloat32;
    case data::DType::kF64: return torch::kFloat64;
    case data::DType::kF16: return torch::kFloat16;
    case data::DType::kBf16: return torch::kBFloat16;
    default: return absl::InvalidArgumentError(StrCat("tensor ", name, " has type ", data::ToString(dtype)));
  }
}

// A tensor over the file's bytes.
absl::StatusOr<Tensor> Borrow(const data::TensorView& view, std::string_view name) {
  ENTRAIN_ASSIGN_OR_RETURN(const torch::Dtype dtype, TorchType(view.dtype, name));
  return torch::from_blob(const_cast<char*>(view.bytes), view.shape, torch::TensorOptions().dtype(dtype));
}

absl::Status CopyInto(const data::TensorView& view, const std::string& name, const Tensor& target) {
  if (view.shape != target.sizes().vec()) {
    return absl::InvalidArgumentError(StrCat("tensor ", name, " has shape ", ShapeText(view.shape), ", the model has ",
                                             ShapeText(target.sizes().vec())));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const Tensor source, Borrow(view, name));
  target.detach().copy_(source);
  return absl::OkStatus();
}

absl::Status RestoreAll(const data::SafetensorsFile& file, const AdamW::NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    ENTRAIN_ASSIGN_OR_RETURN(const data::TensorView view, file.Get(name));
    ENTRAIN_RETURN_IF_ERROR(CopyInto(view, name, tensor));
  }
  return absl::OkStatus();
}

// Tensors that every GPT-2 has, by the end of their names.
bool BelongsToGpt2(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kOwners = {"wte.", "wpe.", "ln_", "attn.c_attn.", "attn.c_proj.", "mlp.c_"};
  const bool owner = std::any_of(kOwners.begin(), kOwners.end(),
                                 [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
  return owner && (name.ends_with(".weight") || name.ends_with(".bias")) && name.find("c_ffn") == std::string_view::npos;
}

// The original files leave out the prefix.
const data::TensorView* FindByEitherName(const std::map<std::string, data::TensorView>& tensors, const std::string& name) {
  auto found = tensors.find(name);
  constexpr std::string_view kPrefix = "transformer.";
  if (found == tensors.end() && name.starts_with(kPrefix)) found = tensors.find(name.substr(kPrefix.size()));
  return found == tensors.end() ? nullptr : &found->second;
}

data::TensorView CutRows(data::TensorView view, std::int64_t rows) {
  view.byte_size = view.byte_size / view.shape[0] * rows;
  view.shape[0] = rows;
  return view;
}

}  // namespace

void Snapshot::Copy(const AdamW::NamedTensors& from, std::map<std::string, Tensor>* to) {
  for (const auto& [name, tensor] : from) {
    Tensor& copy = (*to)[name];
    if (!copy.defined()) {
      copy = torch::empty(tensor.sizes(),
                          torch::TensorOptions().dtype(tensor.scalar_type()).pinned_memory(tensor.is_cuda()));
    }
    copy.copy_(tensor.detach(), /*non_blocking=*/true);
  }
}

void Snapshot::Capture(const model::Gpt& model, const AdamW& optimizer) {
  const torch::NoGradGuard no_grad;
  Copy(model.NamedParameters(), &model_);
  Copy(model.NamedState(), &model_);
  Copy(optimizer.NamedState(), &optimizer_);
  const torch::Device device = optimizer.flat_parameters().device();
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

std::map<std::string, data::TensorView> Snapshot::Views(const std::map<std::string, Tensor>& tensors) {
  std::map<std::string, data::TensorView> views;
  for (const auto& [name, tensor] : tensors) {
    ENTRAIN_CHECK_MSG(tensor.scalar_type() == torch::kFloat32 && tensor.is_contiguous(), name);
    views[name] = {data::DType::kF32, tensor.sizes().vec(), static_cast<const char*>(tensor.data_ptr()),
                   static_cast<std::int64_t>(tensor.nbytes())};
  }
  return views;
}

absl::Status Restore(const OpenedCheckpoint& checkpoint, model::Gpt* model, AdamW* optimizer) {
  const torch::NoGradGuard no_grad;
  ENTRAIN_RETURN_IF_ERROR(RestoreAll(checkpoint.model, model->NamedParameters()));
  ENTRAIN_RETURN_IF_ERROR(RestoreAll(checkpoint.model, model->NamedState()));
  ENTRAIN_RETURN_IF_ERROR(RestoreAll(checkpoint.optimizer, optimizer->NamedState()));
  optimizer->set_step(checkpoint.state.step);
  return absl::OkStatus();
}

absl::Status InitialiseFrom(const std::string& dir, model::Gpt* model) {
  const torch::NoGradGuard no_grad;
  const std::string path = dir + "/model.safetensors";
  ENTRAIN_ASSIGN_OR_RETURN(const data::SafetensorsFile file, data::SafetensorsFile::Open(path));
  for (const auto& [name, tensor] : model->NamedParameters()) {
    const data::TensorView* found = FindByEitherName(file.tensors(), name);
    if (found == nullptr && !BelongsToGpt2(name)) continue;
    if (found == nullptr) return absl::InvalidArgumentError(StrCat(path, " has no tensor ", name));
    data::TensorView view = *found;
    const bool longer = name.ends_with("wpe.weight") && view.shape.size() == 2 && view.shape[0] > tensor.size(0);
    if (longer) view = CutRows(std::move(view), tensor.size(0));
    if (absl::Status status = CopyInto(view, name, tensor); !status.ok()) {
      return absl::InvalidArgumentError(StrCat(path, ": ", std::string(status.message())));
    }
  }
  return absl::OkStatus();
}

}  // namespace entrain::trainer
