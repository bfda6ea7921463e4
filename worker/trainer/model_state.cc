#include "worker/trainer/model_state.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/files.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "model/weights.h"
#include "worker/trainer/hugging_face_config.h"

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

absl::Status RestoreAll(const data::SafetensorsFile& file, bool may_be_missing, const AdamW::NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (may_be_missing && !file.tensors().contains(name)) {
      Log(LogLevel::kInfo, "not in the checkpoint", {{"tensor", name}});
      continue;
    }
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

// What no tensor's shape shows: weights cut into another number of heads, or without their last layers, would be another model.
absl::Status CheckShape(const std::string& dir, const domain::ModelConfig& model) {
  const std::string path = dir + "/config.json";
  const absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(text.status());
  ENTRAIN_ASSIGN_OR_RETURN(const domain::ModelConfig given, ParseArchitecture(*text, path));
  const auto same = [&](const char* field, std::int64_t theirs, std::int64_t ours) -> absl::Status {
    if (theirs == ours) return absl::OkStatus();
    return absl::InvalidArgumentError(StrCat(path, " has ", field, " ", theirs, ", the run ", ours));
  };
  ENTRAIN_RETURN_IF_ERROR(same("n_layer", given.n_layer, model.n_layer));
  ENTRAIN_RETURN_IF_ERROR(same("n_head", given.n_head, model.n_head));
  return same("n_embd", given.n_embd, model.n_embd);
}

// Copies every parameter that the file has; the names of the others go to `missing`, if given.
absl::Status CopyWhatFits(const data::SafetensorsFile& file, const model::Gpt& model, std::vector<std::string>* missing) {
  for (const auto& [name, tensor] : model.NamedParameters()) {
    const data::TensorView* found = FindByEitherName(file.tensors(), name);
    if (found == nullptr && BelongsToGpt2(name)) return absl::InvalidArgumentError(StrCat("has no tensor ", name));
    if (found == nullptr && missing != nullptr) missing->push_back(name);
    if (found == nullptr) continue;
    data::TensorView view = *found;
    const bool longer = name.ends_with("wpe.weight") && view.shape.size() == 2 && view.shape[0] > tensor.size(0);
    if (longer) view = CutRows(std::move(view), tensor.size(0));
    ENTRAIN_RETURN_IF_ERROR(CopyInto(view, name, tensor));
  }
  return absl::OkStatus();
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

absl::Status Restore(const OpenedCheckpoint& checkpoint, bool changed_settings, model::Gpt* model, AdamW* optimizer) {
  const torch::NoGradGuard no_grad;
  ENTRAIN_RETURN_IF_ERROR(RestoreAll(checkpoint.model, changed_settings, model->NamedParameters()));
  ENTRAIN_RETURN_IF_ERROR(RestoreAll(checkpoint.model, changed_settings, model->NamedState()));
  ENTRAIN_RETURN_IF_ERROR(RestoreAll(checkpoint.optimizer, changed_settings, optimizer->NamedState()));
  optimizer->set_step(checkpoint.state.step);
  return absl::OkStatus();
}

absl::Status InitialiseFrom(const std::string& dir, model::Gpt* model) {
  const torch::NoGradGuard no_grad;
  ENTRAIN_RETURN_IF_ERROR(CheckShape(dir, model->config()));
  const std::string path = dir + "/model.safetensors";
  if (std::error_code error; std::filesystem::exists(path + ".index.json", error)) {
    return absl::InvalidArgumentError(StrCat(path, ".index.json: weights in several files are not read; save them as one"));
  }
  ENTRAIN_ASSIGN_OR_RETURN(const data::SafetensorsFile file, data::SafetensorsFile::Open(path));
  const auto say_file = [&](const absl::Status& status) {
    return absl::InvalidArgumentError(StrCat(path, ": ", std::string(status.message())));
  };
  if (const absl::Status tied = model::CheckTiedOutput(file); !tied.ok()) return say_file(tied);
  std::vector<std::string> own;
  if (const absl::Status status = CopyWhatFits(file, *model, &own); !status.ok()) return say_file(status);
  // Gains and spectral vectors of the random start say nothing of these weights; those that the file has come back after it.
  model->Reparametrise();
  if (const absl::Status status = CopyWhatFits(file, *model, nullptr); !status.ok()) return say_file(status);
  Log(LogLevel::kInfo, "starts from given weights",
      {{"folder", dir}, {"tensors_of_its_own", own.empty() ? "none" : absl::StrJoin(own, " ")}});
  return absl::OkStatus();
}

}  // namespace entrain::trainer
