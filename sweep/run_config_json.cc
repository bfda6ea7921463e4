#include "sweep/run_config_json.h"

#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "sweep/run_fields.h"

namespace entrain::sweep {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

absl::Status BadField(const std::string& pointer, std::string_view what) {
  return absl::InvalidArgumentError(StrCat(pointer.empty() ? "/" : pointer, ": ", what));
}

// nullopt when the JSON value has another type than the field.
std::optional<Value> FromJson(const FieldSpec& field, const json& value) {
  switch (field.kind) {
    case FieldKind::kBool:
      if (value.is_boolean()) return Value(value.get<bool>());
      return std::nullopt;
    case FieldKind::kInteger:
      if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) return std::nullopt;
      if (value.is_number_integer()) return Value(value.get<std::int64_t>());
      return std::nullopt;
    case FieldKind::kSeed:
      if (value.is_number_unsigned()) return Value(value.get<std::uint64_t>());
      return std::nullopt;
    case FieldKind::kNumber:
      if (value.is_number()) return Value(value.get<double>());
      return std::nullopt;
    case FieldKind::kText:
    case FieldKind::kChoice:
      if (value.is_string()) return Value(value.get<std::string>());
      return std::nullopt;
    case FieldKind::kTexts:
    case FieldKind::kChoices: {
      if (!value.is_array()) return std::nullopt;
      std::vector<std::string> texts;
      for (const json& item : value) {
        if (!item.is_string()) return std::nullopt;
        texts.push_back(item.get<std::string>());
      }
      return Value(texts);
    }
  }
  return std::nullopt;
}

json ToJson(const Value& value) {
  return std::visit([](const auto& held) { return json(held); }, value);
}

template <typename Section>
absl::Status ReadField(const Field<Section>& field, const json& value, const std::string& pointer, Section* section) {
  const std::optional<Value> read = FromJson(field, value);
  if (!read) return BadField(pointer, StrCat("must be ", DescribeAllowed(field)));
  if (auto reason = WhyNotAllowed(field, *read)) return BadField(pointer, *reason);
  field.set(*section, *read);
  return absl::OkStatus();
}

absl::Status RequireObject(const json& value, const std::string& pointer) {
  return value.is_object() ? absl::OkStatus() : BadField(pointer, "must be an object");
}

template <typename Section>
absl::Status ReadSection(const std::vector<Field<Section>>& fields, const json& object, const std::string& pointer,
                         Section* section) {
  ENTRAIN_RETURN_IF_ERROR(RequireObject(object, pointer));
  for (const auto& [key, value] : object.items()) {
    const std::string place = StrCat(pointer, "/", key);
    const Field<Section>* field = FindField(fields, key);
    if (field == nullptr) return BadField(place, "unknown field");
    ENTRAIN_RETURN_IF_ERROR(ReadField(*field, value, place, section));
  }
  return absl::OkStatus();
}

absl::Status ReadLayers(const json& object, const std::string& pointer, domain::ModelConfig* model) {
  ENTRAIN_RETURN_IF_ERROR(RequireObject(object, pointer));
  for (const auto& [key, value] : object.items()) {
    const std::string place = StrCat(pointer, "/", key);
    const std::vector<std::int64_t> indices = ParseLayerRange(key);
    if (indices.empty()) return BadField(place, "must be a layer (3) or a range of layers (0-4)");
    domain::LayerConfig layer = model->layer;
    ENTRAIN_RETURN_IF_ERROR(ReadSection(LayerFields(), value, place, &layer));
    NarrowReparamTargets(&layer);
    for (std::int64_t index : indices) {
      if (!model->layers.emplace(index, layer).second) return BadField(place, StrCat("names layer ", index, " again"));
    }
  }
  return absl::OkStatus();
}

// Layer fields stand flat in the model object; `layers` is read last, since it builds on them.
absl::Status ReadModel(const json& object, const std::string& pointer, domain::ModelConfig* model) {
  ENTRAIN_RETURN_IF_ERROR(RequireObject(object, pointer));
  for (const auto& [key, value] : object.items()) {
    const std::string place = StrCat(pointer, "/", key);
    if (const auto* field = FindField(ModelFields(), key)) {
      ENTRAIN_RETURN_IF_ERROR(ReadField(*field, value, place, model));
    } else if (const auto* layer_field = FindField(LayerFields(), key)) {
      ENTRAIN_RETURN_IF_ERROR(ReadField(*layer_field, value, place, &model->layer));
    } else if (key != "layers") {
      return BadField(place, "unknown field");
    }
  }
  NarrowReparamTargets(&model->layer);
  const auto layers = object.find("layers");
  return layers == object.end() ? absl::OkStatus() : ReadLayers(*layers, StrCat(pointer, "/layers"), model);
}

absl::Status ReadDataset(const json& object, domain::DatasetRef* dataset) {
  static const std::vector<Field<domain::DatasetRef>> fields = {Text("name", &domain::DatasetRef::name, ""),
                                                                Text("hash", &domain::DatasetRef::hash, "")};
  return ReadSection(fields, object, "/dataset", dataset);
}

absl::Status ReadRunConfig(const json& object, domain::RunConfig* config) {
  ENTRAIN_RETURN_IF_ERROR(RequireObject(object, ""));
  for (const auto& [key, value] : object.items()) {
    if (key == "version") {
      if (!value.is_number_integer() || value != kVersion) {
        return BadField("/version", StrCat("is not one that this program reads (", kVersion, ")"));
      }
    } else if (key == "dataset") {
      ENTRAIN_RETURN_IF_ERROR(ReadDataset(value, &config->dataset));
    } else if (key == "model") {
      ENTRAIN_RETURN_IF_ERROR(ReadModel(value, "/model", &config->model));
    } else if (key == "train") {
      ENTRAIN_RETURN_IF_ERROR(ReadSection(TrainFields(), value, "/train", &config->train));
    } else if (key == "resources") {
      ENTRAIN_RETURN_IF_ERROR(ReadSection(ResourceFields(), value, "/resources", &config->resources));
    } else {
      return BadField(StrCat("/", key), "unknown field");
    }
  }
  return object.contains("version") ? absl::OkStatus() : BadField("/version", "is missing");
}

// A domain check names its field first, dotted; here fields are JSON pointers.
absl::Status WithPointer(const absl::Status& status, std::string_view outer) {
  if (status.ok()) return status;
  std::string message(status.message());
  std::size_t end = 0;
  for (; end < message.size() &&
         (std::isalnum(static_cast<unsigned char>(message[end])) || message[end] == '_' || message[end] == '.');
       ++end) {
    if (message[end] == '.') message[end] = '/';
  }
  const std::string pointer = StrCat("/", message);
  return absl::InvalidArgumentError(pointer.starts_with(outer) ? pointer.substr(outer.size()) : pointer);
}

absl::StatusOr<json> ParseText(std::string_view text) {
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(StrCat("not JSON: ", error.what()));
  }
}

// --- writing ---

void WriteCanonical(const json& value, std::string* out) {
  if (value.is_object() || value.is_array()) {
    const bool object = value.is_object();
    *out += object ? '{' : '[';
    bool first = true;
    for (const auto& [key, item] : value.items()) {
      if (!first) *out += ',';
      first = false;
      if (object) StrAppend(out, json(key).dump(-1, ' ', true, json::error_handler_t::replace), ":");
      WriteCanonical(item, out);
    }
    *out += object ? '}' : ']';
  } else if (value.is_number_float()) {
    *out += ShortestNumber(value.get<double>());
  } else {
    *out += value.dump(-1, ' ', true, json::error_handler_t::replace);
  }
}

std::string Canonical(const json& value) {
  std::string out;
  WriteCanonical(value, &out);
  return out;
}

// The fields of `section` that differ from those of `base`.
template <typename Section>
json Differences(const std::vector<Field<Section>>& fields, const Section& section, const Section& base) {
  json object = json::object();
  for (const Field<Section>& field : fields) {
    const Value value = field.get(section);
    if (value != field.get(base)) object[field.name] = ToJson(value);
  }
  return object;
}

template <typename Section>
json AllFields(const std::vector<Field<Section>>& fields, const Section& section) {
  json object = json::object();
  for (const Field<Section>& field : fields) object[field.name] = ToJson(field.get(section));
  return object;
}

void AddLayers(const domain::ModelConfig& model, json* object) {
  for (const auto& [index, layer] : model.layers) {
    json differences = Differences(LayerFields(), layer, model.layer);
    if (!differences.empty()) (*object)["layers"][std::to_string(index)] = std::move(differences);
  }
}

json CanonicalModel(const domain::ModelConfig& model) {
  static const domain::ModelConfig base;
  json object = Differences(ModelFields(), model, base);
  object.update(Differences(LayerFields(), model.layer, base.layer));
  AddLayers(model, &object);
  return object;
}

}  // namespace

std::string ToCanonicalJson(const domain::RunConfig& config) {
  static const domain::RunConfig base;
  json object = {{"version", config.version},
                 {"dataset", {{"name", config.dataset.name}, {"hash", config.dataset.hash}}}};
  const auto add = [&object](const char* name, json section) {
    if (!section.empty()) object[name] = std::move(section);
  };
  add("model", CanonicalModel(config.model));
  add("train", Differences(TrainFields(), config.train, base.train));
  add("resources", Differences(ResourceFields(), config.resources, base.resources));
  return Canonical(object);
}

absl::StatusOr<domain::RunConfig> ParseRunConfig(std::string_view text) {
  ENTRAIN_ASSIGN_OR_RETURN(const json object, ParseText(text));
  domain::RunConfig config;
  ENTRAIN_RETURN_IF_ERROR(ReadRunConfig(object, &config));
  ENTRAIN_RETURN_IF_ERROR(WithPointer(domain::Validate(config), ""));
  return config;
}

std::string ModelToJson(const domain::ModelConfig& model) {
  json object = AllFields(ModelFields(), model);
  object.update(AllFields(LayerFields(), model.layer));
  AddLayers(model, &object);
  return Canonical(object);
}

absl::StatusOr<domain::ModelConfig> ParseModelJson(std::string_view text) {
  ENTRAIN_ASSIGN_OR_RETURN(const json object, ParseText(text));
  domain::ModelConfig model;
  ENTRAIN_RETURN_IF_ERROR(ReadModel(object, "", &model));
  ENTRAIN_RETURN_IF_ERROR(WithPointer(domain::Validate(model), "/model"));
  return model;
}

// The dataset's name is for people: the same bytes under another name are the same cell.
CellId MakeCellId(std::string_view canonical_json) {
  json object = json::parse(canonical_json, nullptr, false);
  if (!object.is_object()) return CellId(HashHex(canonical_json));
  if (auto dataset = object.find("dataset"); dataset != object.end() && dataset->is_object()) dataset->erase("name");
  return CellId(HashHex(Canonical(object)));
}

}  // namespace entrain::sweep
