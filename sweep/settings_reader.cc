#include "sweep/settings_reader.h"

#include <algorithm>

#include "absl/strings/str_join.h"
#include "base/strings.h"
#include "sweep/run_fields.h"

namespace entrain::sweep {
namespace {

constexpr std::string_view kLayersPath = "model.layers";

bool IsSection(const std::string& path) {
  const std::string prefix = StrCat(path, ".");
  return std::any_of(DraftFields().begin(), DraftFields().end(),
                     [&](const Field<Draft>& field) { return field.name.starts_with(prefix); });
}

std::vector<std::string> LayerNames() {
  std::vector<std::string> names;
  for (const auto& field : LayerFields()) names.push_back(field.name);
  return names;
}

}  // namespace

std::vector<std::string> NamesBelow(const std::string& prefix) {
  std::vector<std::string> names;
  for (const Field<Draft>& field : DraftFields()) {
    if (!field.name.starts_with(prefix)) continue;
    const std::string rest = field.name.substr(prefix.size());
    const std::string name = rest.substr(0, rest.find('.'));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (prefix == "model.") names.emplace_back("layers");
  return names;
}

std::vector<Setting> SettingsReader::Read(const YamlNode& map, const std::string& where,
                                          const std::vector<std::string>& reserved) {
  where_ = where;
  settings_.clear();
  for (const YamlEntry& entry : map.entries) {
    if (std::find(reserved.begin(), reserved.end(), entry.key) == reserved.end()) ReadEntry(entry, "", reserved);
  }
  CheckRivals();
  // A preset of health rules lies under whatever else is said of them here.
  std::stable_partition(settings_.begin(), settings_.end(), [](const Setting& setting) { return setting.field == "health.preset"; });
  return std::move(settings_);
}

void SettingsReader::ReadEntry(const YamlEntry& entry, const std::string& prefix,
                               const std::vector<std::string>& reserved) {
  const std::string path = prefix + entry.key;
  if (const Field<Draft>* field = FindDraftField(path)) {
    ReadField(entry, *field);
  } else if (path == kLayersPath) {
    ReadLayers(entry);
  } else if (IsSection(path)) {
    ReadSection(entry, path);
  } else {
    std::vector<std::string> names = NamesBelow(prefix);
    names.insert(names.end(), reserved.begin(), reserved.end());
    const std::string hint = DidYouMean(entry.key, names);
    Bad(entry.place, path,
        StrCat("unknown field", hint.empty() ? StrCat("; known: ", absl::StrJoin(names, ", ")) : hint));
  }
}

void SettingsReader::ReadSection(const YamlEntry& entry, const std::string& path) {
  const YamlNode& node = *entry.value;
  if (node.IsMap()) {
    for (const YamlEntry& inner : node.entries) ReadEntry(inner, StrCat(path, "."), {});
  } else if (path.starts_with("health") && node.IsScalar()) {
    Switch(entry, path);
  } else if (node.kind != YamlNode::Kind::kNull) {
    Bad(node.place, path, StrCat("must be a map of fields; is ", DescribeNode(node)));
  }
}

// `health: off` and `collapse: off` stand for the rules' `enabled`, `health: cautious` for its preset.
void SettingsReader::Switch(const YamlEntry& entry, const std::string& path) {
  const std::string& text = entry.value->text;
  if (path == "health" && domain::ParseHealthPreset(text).has_value()) {
    settings_.push_back({"health.preset", Value(text), entry.value->place, {}});
    return;
  }
  const bool on = text == "on" || text == "true";
  if (!on && text != "off" && text != "false") {
    Bad(entry.value->place, path, StrCat("must be on, off", path == "health" ? ", a preset" : "", " or a map of fields; is ", DescribeNode(*entry.value)));
    return;
  }
  for (const Field<Draft>& field : DraftFields()) {
    if (field.name.starts_with(StrCat(path, ".")) && field.name.ends_with(".enabled")) {
      settings_.push_back({field.name, Value(on), entry.value->place, {}});
    }
  }
}

void SettingsReader::ReadField(const YamlEntry& entry, const FieldSpec& field) {
  std::string why;
  if (std::optional<Value> value = ReadValue(*entry.value, field, &why)) {
    settings_.push_back({field.name, *std::move(value), entry.value->place, {}});
  } else {
    failed_->insert(field.name);
    Bad(entry.value->place, field.name, why);
  }
}

void SettingsReader::ReadLayers(const YamlEntry& entry) {
  if (!entry.value->IsMap()) {
    Bad(entry.value->place, std::string(kLayersPath),
        StrCat("must be a map from layers (3, or 0-4) to their fields; is ", DescribeNode(*entry.value)));
    return;
  }
  std::set<std::int64_t> named;
  for (const YamlEntry& range : entry.value->entries) {
    const std::string path = StrCat(kLayersPath, ".", range.key);
    const std::vector<std::int64_t> layers = ParseLayerRange(range.key);
    if (layers.empty()) Bad(range.place, path, "must be a layer (3) or a range of layers (0-4), counted from 0");
    for (std::int64_t layer : layers) {
      if (named.insert(layer).second) continue;
      Bad(range.place, path, StrCat("names layer ", layer, " again"));
      break;
    }
    if (!range.value->IsMap()) {
      Bad(range.value->place, path, StrCat("must be a map of fields; is ", DescribeNode(*range.value)));
    } else if (!layers.empty()) {
      ReadLayer(*range.value, path, layers);
    }
  }
}

void SettingsReader::ReadLayer(const YamlNode& map, const std::string& path, const std::vector<std::int64_t>& layers) {
  for (const YamlEntry& entry : map.entries) {
    const Field<domain::LayerConfig>* field = FindField(LayerFields(), entry.key);
    std::string why;
    if (field == nullptr) {
      Bad(entry.place, StrCat(path, ".", entry.key),
          StrCat("unknown field of a layer", DidYouMean(entry.key, LayerNames())));
    } else if (std::optional<Value> value = ReadValue(*entry.value, *field, &why)) {
      settings_.push_back({field->name, *std::move(value), entry.value->place, layers});
    } else {
      Bad(entry.value->place, StrCat(path, ".", entry.key), why);
    }
  }
}

void SettingsReader::CheckRivals() {
  for (const std::vector<std::string>& group : ExclusiveFields()) {
    const Setting* first = nullptr;
    for (const Setting& setting : settings_) {
      if (std::find(group.begin(), group.end(), setting.field) == group.end()) continue;
      if (first != nullptr)
        Bad(setting.place, setting.field, StrCat("only one of ", absl::StrJoin(group, ", "), " may be given"));
      first = &setting;
    }
  }
}

}  // namespace entrain::sweep
