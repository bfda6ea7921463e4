// The reference and the JSON schema of sweep files, from the tables that the parser reads by.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/strings.h"
#include "sweep/draft.h"
#include "sweep/presets.h"
#include "sweep/run_fields.h"
#include "sweep/sweep_file.h"

namespace entrain::sweep {
namespace {

using nlohmann::json;

constexpr std::string_view kIntroduction = R"(# Sweep files

<!-- Generated from the parser's own table; a test holds it current. Do not edit. -->

A sweep file is one YAML document. `entrain validate FILE` shows what it expands to, or every problem with its line and column.

```yaml
name: two-seeds
data: {path: ./my-text, include: ["*.py"]}
model: {n_layer: 6, n_head: 4, n_embd: 64}
train: {steps: 300, context: 64, lr: 3e-3}
resources: {ranks_per_machine: 2}
variants:
  - SM+LN+G                          # a preset by name
  - {name: mine, preset: SM, model: {temperature: divide}}
axes:
  train.seed: [1, 2]
```

The file gives variants x axes = runs: here four, called `SM+LN+G seed=1` and so on. A run's settings are laid over each other in this order:
defaults, the file's `model`, `train`, `resources`, `health`, `retries` and `limits`, the variant's preset, the variant's own settings, the axes.

)";

constexpr std::string_view kRules = R"(## variants
A list; without it there is one variant, `base`. Each entry is a preset's name, or a map with

| field | meaning |
|---|---|
| `name` | Unique name; the preset's when it is left out. A variant that carries a preset's name is that preset unless it says `preset: none`. |
| `preset` | One of the presets below, or `none`. |
| `model`, `train`, `resources`, `health`, `retries`, `limits` | Settings of this variant. |
| a dotted field, such as `train.lr` | The same, short. |

## axes
A map from dotted fields (`train.seed`, `train.lr`, `model.n_layer`, any field below) to lists of values; the axes are crossed with each
other and with the variants. A field may not be an axis and a variant's setting at once. At most 10000 runs.

## exclude, when
Lists of maps from `variant` or an axis to a value or a list of values. A run is left out when all entries of some `exclude` map hold; if there is
a `when`, only runs for which all entries of some `when` map hold are kept.

## Layers
`model.layers` is a map from a layer (`3`) or a range (`0-4`), counted from 0, to fields that differ there from the flat ones.

## Numbers
Integers may be written as `4_000_000` or `4e6`. Quoted numbers are text and are refused. Anchors, aliases and merge keys (`<<`) work.

)";

std::string Escaped(const std::string& text) { return absl::StrReplaceAll(text, {{"|", "\\|"}, {"<", "&lt;"}}); }

std::string Row(const FieldSpec& field, const std::string& name, const std::string& default_text) {
  return StrCat("| `", name, "` | ", Escaped(DescribeAllowed(field)), " | ",
                default_text.empty() ? "" : StrCat("`", default_text, "`"), " | ", Escaped(field.doc), " |\n");
}

constexpr std::string_view kTableHead = "| field | allowed | default | meaning |\n|---|---|---|---|\n";

// Fields that stand for others have no default of their own; those that follow from elsewhere say so in their text.
std::string DefaultText(const Field<Draft>& field) {
  static const Draft base;
  const std::vector<std::string> derived = {"model.vocab_size",   "model.n_positions",   "train.tokens",
                                            "train.batch_tokens", "train.warmup_tokens", "train.warmup_fraction"};
  if (std::find(derived.begin(), derived.end(), field.name) != derived.end()) return "";
  return ToText(field.get(base));
}

const std::vector<std::string>& HealthSections() {
  static const std::vector<std::string> sections = {"collapse",   "overload", "spike",     "divergence",
                                                    "non_finite", "plateau",  "max_score", "rescue"};
  return sections;
}

void AppendSection(const std::string& title, const std::string& prefix, std::string* out) {
  StrAppend(out, "## ", title, "\n", kTableHead);
  for (const Field<Draft>& field : DraftFields()) {
    if (!field.name.starts_with(prefix)) continue;
    const std::string name = field.name.substr(prefix.size());
    // Each rule has a section of its own.
    if (prefix == "health." && name.find('.') != std::string::npos) continue;
    const bool of_layer = prefix == "model." && FindField(LayerFields(), name) != nullptr;
    FieldSpec spec = field;
    if (of_layer) spec.doc += " May differ by layer.";
    StrAppend(out, Row(spec, name, DefaultText(field)));
  }
  StrAppend(out, "\n");
}

void AppendPresets(std::string* out) {
  StrAppend(out,
            "## Presets\nA preset sets these fields, whatever the file's `model` section says; a variant's own "
            "settings come after it.\n\n",
            "| preset | meaning | settings |\n|---|---|---|\n");
  for (const Preset& preset : Presets()) {
    std::vector<std::string> settings;
    for (const auto& [field, value] : preset.settings) {
      static const Draft base;
      const bool usual = FindDraftField(field)->get(base) == value;
      if (!usual) settings.push_back(StrCat(field.substr(field.find('.') + 1), ": ", ToText(value)));
    }
    StrAppend(out, "| `", preset.name, "` | ", preset.doc, " | ", absl::StrJoin(settings, ", "), " |\n");
  }
  StrAppend(out, "\nFields not listed for a preset are set to their defaults: ");
  std::vector<std::string> fields;
  for (const auto& [field, value] : Presets().front().settings)
    fields.push_back(StrCat("`", field.substr(field.find('.') + 1), "`"));
  StrAppend(out, absl::StrJoin(fields, ", "), ".\n");
}

// --- JSON schema ---

json NumberLimits(const FieldSpec& field, const char* type) {
  json schema = {{"type", type}};
  const auto number = [&](double value) {
    return field.kind == FieldKind::kInteger ? json(static_cast<std::int64_t>(value)) : json(value);
  };
  if (std::isfinite(field.range.minimum)) {
    schema[field.range.above_minimum ? "exclusiveMinimum" : "minimum"] = number(field.range.minimum);
  }
  if (std::isfinite(field.range.maximum)) {
    schema[field.range.below_maximum ? "exclusiveMaximum" : "maximum"] = number(field.range.maximum);
  }
  return schema;
}

json SchemaOf(const FieldSpec& field) {
  json schema;
  switch (field.kind) {
    case FieldKind::kBool:
      schema = {{"type", "boolean"}};
      break;
    case FieldKind::kInteger:
      schema = NumberLimits(field, "integer");
      break;
    case FieldKind::kSeed:
      schema = {{"type", "integer"}, {"minimum", 0}};
      break;
    case FieldKind::kNumber:
      schema = NumberLimits(field, "number");
      break;
    case FieldKind::kText:
      schema = {{"type", "string"}};
      break;
    case FieldKind::kChoice:
      schema = {{"enum", field.choices}};
      break;
    case FieldKind::kTexts:
      schema = {{"type", json::array({"string", "array"})}, {"items", {{"type", "string"}}}};
      break;
    case FieldKind::kChoices:
      schema = {{"type", json::array({"string", "array"})}, {"items", {{"enum", field.choices}}}};
      break;
  }
  schema["description"] = field.doc;
  return schema;
}

json ObjectSchema(json properties) {
  return {{"type", "object"}, {"additionalProperties", false}, {"properties", std::move(properties)}};
}

json SectionSchema(const std::string& prefix) {
  json properties = json::object();
  for (const Field<Draft>& field : DraftFields()) {
    if (field.name.starts_with(prefix)) properties[field.name.substr(prefix.size())] = SchemaOf(field);
  }
  return ObjectSchema(std::move(properties));
}

json ModelSchema() {
  json layer = json::object();
  for (const auto& field : LayerFields()) layer[field.name] = SchemaOf(field);
  json model = SectionSchema("model.");
  model["properties"]["layers"] = {{"type", "object"},
                                   {"additionalProperties", false},
                                   {"patternProperties", {{"^[0-9]+(-[0-9]+)?$", ObjectSchema(std::move(layer))}}}};
  return model;
}

json SwitchOr(json object) {
  return {{"anyOf", json::array({json{{"enum", json::array({"on", "off", true, false})}}, std::move(object)})}};
}

json SettingSections() {
  return {{"model", {{"$ref", "#/$defs/model"}}},
          {"train", {{"$ref", "#/$defs/train"}}},
          {"resources", {{"$ref", "#/$defs/resources"}}},
          {"health", {{"$ref", "#/$defs/health"}}},
          {"retries", {{"$ref", "#/$defs/retries"}}},
          {"limits", {{"$ref", "#/$defs/limits"}}}};
}

json VariantSchema() {
  json presets = json::array();
  for (const Preset& preset : Presets()) presets.push_back(preset.name);
  json properties = SettingSections();
  json preset_or_none = presets;
  preset_or_none.push_back("none");
  properties["name"] = {{"type", "string"}};
  properties["preset"] = {{"enum", preset_or_none}};
  for (const Field<Draft>& field : DraftFields()) properties[field.name] = SchemaOf(field);
  return {{"anyOf", json::array({json{{"enum", presets}}, ObjectSchema(std::move(properties))})}};
}

json AxesSchema() {
  json properties = json::object();
  for (const Field<Draft>& field : DraftFields()) {
    properties[field.name] = {{"type", "array"}, {"minItems", 1}, {"items", SchemaOf(field)}};
  }
  return ObjectSchema(std::move(properties));
}

}  // namespace

std::string SweepReferenceMarkdown() {
  std::string out(kIntroduction);
  StrAppend(&out, "## Top level\n", kTableHead);
  static const domain::SweepSpec head;
  for (const auto& field : HeadFields())
    StrAppend(&out, Row(field, field.name, field.name == "name" ? "" : ToText(field.get(head))));
  StrAppend(&out, "\n## data\nRequired: `path` or `dataset`.\n\n", kTableHead);
  DataSource data;
  data.tokenizer = "bytes";
  for (const auto& field : DataFields()) StrAppend(&out, Row(field, field.name, ToText(field.get(data))));
  StrAppend(&out, "\n## early_stopping\nSuccessive halving over the sweep's runs: at each rung the best 1/reduction_factor train on, the others wait at ",
            "a checkpoint\nand are pruned once nobody can come to the rung any more. Without this section every run trains to its end.\n\n",
            kTableHead);
  static const domain::EarlyStopping halving;
  for (const auto& field : EarlyStoppingFields()) {
    StrAppend(&out, Row(field, field.name, field.name == "min_steps" ? "" : ToText(field.get(halving))));
  }
  StrAppend(&out, "\n", kRules);
  AppendSection("model", "model.", &out);
  AppendSection("train", "train.", &out);
  AppendSection("resources", "resources.", &out);
  StrAppend(&out,
            "## health\n`health: off`, `collapse: off` and so on switch rules off; `health: cautious` takes a preset. What each rule "
            "means and how well it does: docs/policy.md. Defaults are those of the preset `default`.\n\n");
  AppendSection("health: the preset", "health.", &out);
  for (const std::string& section : HealthSections()) AppendSection(StrCat("health.", section), StrCat("health.", section, "."), &out);
  AppendSection("retries", "retries.", &out);
  AppendSection("limits", "limits.", &out);
  AppendPresets(&out);
  return out;
}

std::string SweepJsonSchema() {
  json properties = SettingSections();
  for (const auto& field : HeadFields()) properties[field.name] = SchemaOf(field);
  json data = json::object();
  for (const auto& field : DataFields()) data[field.name] = SchemaOf(field);
  properties["data"] = ObjectSchema(std::move(data));
  json halving = json::object();
  for (const auto& field : EarlyStoppingFields()) halving[field.name] = SchemaOf(field);
  properties["early_stopping"] = ObjectSchema(std::move(halving));
  properties["variants"] = {{"type", "array"}, {"minItems", 1}, {"items", VariantSchema()}};
  properties["axes"] = AxesSchema();
  const json rules = {{"type", "array"}, {"items", {{"type", "object"}}}};
  properties["exclude"] = rules;
  properties["when"] = rules;
  // Dotted fields are settings of the whole file too.
  for (const Field<Draft>& field : DraftFields()) properties[field.name] = SchemaOf(field);
  json schema = ObjectSchema(std::move(properties));
  schema["$schema"] = "https://json-schema.org/draft/2020-12/schema";
  schema["title"] = "entrain sweep file";
  schema["required"] = {"name", "data"};
  json health = json::object();
  for (const std::string& section : HealthSections()) health[section] = SwitchOr(SectionSchema(StrCat("health.", section, ".")));
  health["preset"] = SchemaOf(*FindDraftField("health.preset"));
  json whole = SwitchOr(ObjectSchema(std::move(health)));
  whole["anyOf"].push_back({{"enum", {"default", "cautious", "eager"}}});
  schema["$defs"] = {{"model", ModelSchema()},
                     {"train", SectionSchema("train.")},
                     {"resources", SectionSchema("resources.")},
                     {"health", std::move(whole)},
                     {"retries", SectionSchema("retries.")},
                     {"limits", SectionSchema("limits.")}};
  return schema.dump(2) + "\n";
}

}  // namespace entrain::sweep
