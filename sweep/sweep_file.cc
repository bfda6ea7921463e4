#include "sweep/sweep_file.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "absl/strings/str_join.h"
#include "base/strings.h"
#include "sweep/presets.h"
#include "sweep/settings_reader.h"

namespace entrain::sweep {
namespace {

constexpr std::size_t kMaxNameBytes = 100;
constexpr std::size_t kMaxVariants = 1000;
constexpr std::size_t kMaxAxes = 16;
constexpr std::size_t kMaxAxisValues = 10'000;
constexpr std::size_t kHashDigits = 32;

// What is wrong with a name that people, labels and paths carry.
std::string WhyBadName(const std::string& name) {
  if (name.empty()) return "must not be empty";
  if (name.size() > kMaxNameBytes) return StrCat("must have at most ", kMaxNameBytes, " bytes, has ", name.size());
  const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
  if (control) return "must not hold control characters";
  if (name.front() == ' ' || name.back() == ' ') return "must not begin or end with a space";
  return "";
}

template <typename Section>
std::vector<std::string> NamesOf(const std::vector<Field<Section>>& fields) {
  std::vector<std::string> names;
  for (const Field<Section>& field : fields) names.push_back(field.name);
  return names;
}

bool IsReference(const std::string& text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string::npos || at == 0) return false;
  const std::string hash = text.substr(at + 1);
  return hash.size() == kHashDigits &&
         std::all_of(hash.begin(), hash.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

const std::vector<std::string>& Sections() {
  static const std::vector<std::string> names = {
      "name", "priority", "max_concurrent_runs", "early_stopping", "data", "variants", "axes", "exclude", "when"};
  return names;
}

// A map of plain fields.
template <typename Section>
void ReadFields(const YamlNode& map, const std::string& where, const std::vector<Field<Section>>& fields, ProblemList* problems, Section* out) {
  for (const YamlEntry& entry : map.entries) {
    const Field<Section>* field = FindField(fields, entry.key);
    const std::string path = StrCat(where, ".", entry.key);
    std::string why;
    if (field == nullptr) {
      problems->Add(entry.place, path,
                    StrCat("unknown field; known: ", absl::StrJoin(NamesOf(fields), ", "), DidYouMean(entry.key, NamesOf(fields))));
    } else if (const auto value = ReadValue(*entry.value, *field, &why)) {
      field->set(*out, *value);
    } else {
      problems->Add(entry.value->place, path, why);
    }
  }
}

class FileReader {
 public:
  FileReader(const YamlNode& root, ProblemList* problems, SweepFile* file)
      : root_(root), problems_(problems), file_(file), settings_(problems, &file->failed) {}

  void Read() {
    ReadHead();
    ReadEarlyStopping();
    ReadDataSection(root_, problems_, &file_->data);
    file_->settings = settings_.Read(root_, "", Sections());
    ReadVariants();
    ReadAxes();
    ReadRules("exclude", &file_->exclude);
    ReadRules("when", &file_->when);
  }

 private:
  void Bad(Place place, const std::string& field, const std::string& message) { problems_->Add(place, field, message); }

  void ReadHead() {
    for (const auto& field : HeadFields()) {
      const YamlEntry* entry = root_.Find(field.name);
      if (entry == nullptr) continue;
      std::string why;
      if (const auto value = ReadValue(*entry->value, field, &why)) {
        field.set(file_->head, *value);
      } else {
        Bad(entry->value->place, field.name, why);
      }
    }
    const YamlEntry* name = root_.Find("name");
    if (name == nullptr) {
      Bad(root_.place, "name", "is missing; every sweep has a name");
    } else if (name->value->IsScalar()) {
      if (const std::string why = WhyBadName(file_->head.name); !why.empty()) Bad(name->value->place, "name", why);
    }
  }

  void ReadEarlyStopping() {
    const YamlEntry* section = root_.Find("early_stopping");
    if (section == nullptr || section->value->kind == YamlNode::Kind::kNull) return;
    file_->early_stopping_place = section->place;
    domain::EarlyStopping& rule = file_->head.early_stopping;
    const std::size_t before = problems_->size();
    if (!section->value->IsMap()) {
      Bad(section->value->place, "early_stopping", StrCat("must be a map of fields; is ", DescribeNode(*section->value)));
    } else {
      ReadFields(*section->value, "early_stopping", EarlyStoppingFields(), problems_, &rule);
      const bool lacks = rule.method != domain::Halving::kNone && section->value->Find("min_steps") == nullptr;
      if (lacks) Bad(section->place, "early_stopping.min_steps", "is missing; it is the step of the first rung");
    }
    file_->early_stopping_failed = problems_->size() != before;
  }

  void ReadVariants() {
    const YamlEntry* section = root_.Find("variants");
    if (section == nullptr) {
      file_->variants.push_back({"base", root_.place, {}});
      return;
    }
    const YamlNode& list = *section->value;
    if (!list.IsList() || list.items.empty()) {
      Bad(list.place, "variants",
          StrCat("must be a list of variants with at least one; is ",
                 list.IsList() ? "an empty list" : DescribeNode(list)));
      return;
    }
    if (list.items.size() > kMaxVariants) {
      Bad(list.place, "variants", StrCat("has ", list.items.size(), " entries, more than ", kMaxVariants));
      return;
    }
    for (std::size_t i = 0; i < list.items.size(); ++i) ReadVariant(*list.items[i], StrCat("variants[", i, "]"));
  }

  void ReadVariant(const YamlNode& node, const std::string& where) {
    Variant variant;
    variant.place = node.place;
    if (node.IsScalar()) {
      variant.name = node.text;
      const Preset* preset = RequirePreset(node, where);
      if (preset != nullptr) UsePreset(*preset, &variant);
    } else if (node.IsMap()) {
      ReadVariantName(node, where, &variant);
      ReadPreset(node, where, &variant);
      std::vector<Setting> own = settings_.Read(node, StrCat(where, "."), {"name", "preset"});
      variant.settings.insert(variant.settings.end(), own.begin(), own.end());
    } else {
      Bad(node.place, where,
          StrCat("must be a preset's name or a map with name, preset and settings; is ", DescribeNode(node)));
      return;
    }
    if (variant.name.empty()) return;
    const auto [first, fresh] = variant_lines_.emplace(variant.name, variant.place.line);
    if (!fresh) {
      Bad(variant.place, StrCat(where, ".name"),
          StrCat("the name ", variant.name, " is taken; first in line ", first->second));
      return;
    }
    file_->variants.push_back(std::move(variant));
  }

  void ReadVariantName(const YamlNode& node, const std::string& where, Variant* variant) {
    const YamlEntry* name = node.Find("name");
    const YamlEntry* preset = node.Find("preset");
    const YamlEntry* source = name != nullptr ? name : preset;
    if (source == nullptr || !source->value->IsScalar()) {
      Bad(source == nullptr ? node.place : source->value->place, StrCat(where, ".name"),
          "is missing; a variant has a name, or a preset that gives it one");
      return;
    }
    if (const std::string why = WhyBadName(source->value->text); !why.empty()) {
      Bad(source->value->place, StrCat(where, ".name"), why);
      return;
    }
    variant->name = source->value->text;
    variant->place = source->value->place;
  }

  // A variant that carries a preset's name is that preset, unless it says `preset: none`.
  void ReadPreset(const YamlNode& node, const std::string& where, Variant* variant) {
    const YamlEntry* entry = node.Find("preset");
    const Preset* preset = nullptr;
    if (entry == nullptr) {
      preset = FindPreset(variant->name);
    } else if (!entry->value->IsScalar() || entry->value->text != "none") {
      preset = RequirePreset(*entry->value, StrCat(where, ".preset"));
    }
    if (preset != nullptr) UsePreset(*preset, variant);
  }

  const Preset* RequirePreset(const YamlNode& node, const std::string& where) {
    const Preset* preset = node.IsScalar() ? FindPreset(node.text) : nullptr;
    if (preset != nullptr) return preset;
    std::vector<std::string> names;
    for (const Preset& known : Presets()) names.push_back(known.name);
    Bad(node.place, where,
        StrCat("must be one of the presets: ", absl::StrJoin(names, ", "), "; is ", DescribeNode(node),
               node.IsScalar() ? DidYouMean(node.text, names) : ""));
    return nullptr;
  }

  static void UsePreset(const Preset& preset, Variant* variant) {
    for (const auto& [field, value] : preset.settings) variant->settings.push_back({field, value, variant->place, {}});
  }

  void ReadAxes() {
    const YamlEntry* section = root_.Find("axes");
    if (section == nullptr || section->value->kind == YamlNode::Kind::kNull) return;
    file_->axes_place = section->place;
    if (!section->value->IsMap()) {
      Bad(section->value->place, "axes",
          StrCat("must be a map from fields to lists of values; is ", DescribeNode(*section->value)));
      return;
    }
    if (section->value->entries.size() > kMaxAxes) {
      Bad(section->value->place, "axes", StrCat("has ", section->value->entries.size(), " axes, more than ", kMaxAxes));
      return;
    }
    for (const YamlEntry& entry : section->value->entries) ReadAxis(entry);
    LabelAxes();
    CheckAxesAgainstVariants();
  }

  void ReadAxis(const YamlEntry& entry) {
    const std::string where = StrCat("axes.", entry.key);
    const Field<Draft>* field = FindDraftField(entry.key);
    if (field == nullptr) {
      std::vector<std::string> names;
      for (const auto& known : DraftFields()) names.push_back(known.name);
      Bad(entry.place, where,
          StrCat("must be a dotted field such as train.lr, train.seed or model.n_layer", DidYouMean(entry.key, names)));
      return;
    }
    const YamlNode& list = *entry.value;
    if (!list.IsList() || list.items.empty() || list.items.size() > kMaxAxisValues) {
      Bad(list.place, where,
          StrCat("must be a list of 1 to ", kMaxAxisValues, " values; is ",
                 list.IsList() ? StrCat("a list of ", list.items.size()) : DescribeNode(list)));
      return;
    }
    Axis axis{field->name, "", entry.place, {}, {}};
    std::set<std::string> texts;
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      const YamlNode& item = *list.items[i];
      std::string why;
      const auto value = ReadValue(item, *field, &why);
      if (value && !texts.insert(ToText(*value)).second)
        why = StrCat("the value ", ToText(*value), " is in the list already");
      if (!why.empty()) {
        Bad(item.place, StrCat(where, "[", i, "]"), why);
        file_->failed.insert(field->name);
        continue;
      }
      axis.values.push_back(*value);
      axis.value_places.push_back(item.place);
    }
    file_->axes.push_back(std::move(axis));
  }

  void LabelAxes() {
    std::map<std::string, int> uses;
    const auto last = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
    for (const Axis& axis : file_->axes) ++uses[last(axis.field)];
    for (Axis& axis : file_->axes) axis.label = uses[last(axis.field)] == 1 ? last(axis.field) : axis.field;
  }

  // A variant's own value of an axis's field would be overridden without a word.
  void CheckAxesAgainstVariants() {
    for (const Variant& variant : file_->variants) {
      for (const Setting& setting : variant.settings) {
        const auto same = [&](const Axis& axis) { return axis.field == setting.field && setting.layers.empty(); };
        const auto axis = std::find_if(file_->axes.begin(), file_->axes.end(), same);
        if (axis == file_->axes.end()) continue;
        Bad(axis->place, StrCat("axes.", axis->field),
            StrCat("the variant ", variant.name, " sets this field too (line ", setting.place.line, ")"));
      }
    }
  }

  void ReadRules(const std::string& name, std::vector<Rule>* rules) {
    const YamlEntry* section = root_.Find(name);
    if (section == nullptr || section->value->kind == YamlNode::Kind::kNull) return;
    if (!section->value->IsList()) {
      Bad(section->value->place, name, StrCat("must be a list of maps; is ", DescribeNode(*section->value)));
      return;
    }
    for (std::size_t i = 0; i < section->value->items.size(); ++i) {
      const YamlNode& node = *section->value->items[i];
      const std::string where = StrCat(name, "[", i, "]");
      if (!node.IsMap() || node.entries.empty()) {
        Bad(node.place, where, StrCat("must be a map from variant or an axis to values; is ", DescribeNode(node)));
        continue;
      }
      Rule rule{node.place, {}};
      for (const YamlEntry& entry : node.entries) ReadCondition(entry, StrCat(where, ".", entry.key), &rule);
      rules->push_back(std::move(rule));
    }
  }

  void ReadCondition(const YamlEntry& entry, const std::string& where, Rule* rule) {
    Rule::Condition condition;
    std::vector<std::string> known;
    if (entry.key == "variant") {
      for (const Variant& variant : file_->variants) known.push_back(variant.name);
    } else {
      const auto named = [&](const Axis& axis) { return axis.field == entry.key || axis.label == entry.key; };
      const auto axis = std::find_if(file_->axes.begin(), file_->axes.end(), named);
      if (axis == file_->axes.end()) {
        std::vector<std::string> names = {"variant"};
        for (const Axis& other : file_->axes) names.push_back(other.field);
        Bad(entry.place, where, StrCat("must be one of: ", absl::StrJoin(names, ", ")));
        return;
      }
      condition.axis = static_cast<int>(axis - file_->axes.begin());
      for (const Value& value : axis->values) known.push_back(ToText(value));
    }
    const YamlNode& value = *entry.value;
    std::vector<YamlPointer> values = value.IsList() ? value.items : std::vector<YamlPointer>{entry.value};
    for (const YamlPointer& item : values) ReadConditionValue(*item, where, known, &condition);
    if (values.empty()) Bad(value.place, where, "must name at least one value");
    rule->conditions.push_back(std::move(condition));
  }

  void ReadConditionValue(const YamlNode& item, const std::string& where, const std::vector<std::string>& known,
                          Rule::Condition* condition) {
    std::string text = item.text;
    if (condition->axis >= 0) {
      const Field<Draft>* field = FindDraftField(file_->axes[static_cast<std::size_t>(condition->axis)].field);
      std::string why;
      if (const auto value = ReadValue(item, *field, &why)) text = ToText(*value);
    }
    if (std::find(known.begin(), known.end(), text) == known.end()) {
      constexpr std::size_t kShown = 20;
      const bool many = known.size() > kShown;
      const std::vector<std::string> shown(known.begin(),
                                           known.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, known.size())));
      Bad(item.place, where,
          StrCat("must be one of: ", absl::StrJoin(shown, ", "), many ? ", ..." : "", "; is ", DescribeNode(item),
                 DidYouMean(text, shown)));
      return;
    }
    condition->values.insert(text);
  }

  const YamlNode& root_;
  ProblemList* problems_;
  SweepFile* file_;
  SettingsReader settings_;
  std::map<std::string, int> variant_lines_;
};

void CheckData(const YamlNode& section, ProblemList* problems, const DataSource& data) {
  const bool path = section.Find("path") != nullptr;
  const YamlEntry* dataset = section.Find("dataset");
  if (path == (dataset != nullptr)) {
    problems->Add(section.place, "data",
                  path ? "only one of path and dataset may be given" : "one of path and dataset must be given");
    return;
  }
  if (path && data.path.empty() && section.Find("path")->value->IsScalar()) {
    problems->Add(section.Find("path")->value->place, "data.path", "must not be empty");
  }
  if (dataset == nullptr) return;
  if (!data.reference.empty() && !IsReference(data.reference)) {
    problems->Add(dataset->value->place, "data.dataset", "must be name@hash with a hash of 32 hexadecimal digits");
  }
  for (const std::string name : {"tokenizer", "vocab_size", "format", "field", "include", "max_bytes", "validation_fraction"}) {
    const YamlEntry* entry = section.Find(name);
    if (entry != nullptr)
      problems->Add(entry->place, StrCat("data.", name), "goes with path; a dataset is prepared already");
  }
}

}  // namespace

const std::vector<Field<domain::SweepSpec>>& HeadFields() {
  using domain::SweepSpec;
  static const std::vector<Field<SweepSpec>> fields = {
      Text("name", &SweepSpec::name, "The sweep's name, for people. Required."),
      Integer("priority", &SweepSpec::priority, Between(-1000, 1000), "Sweeps of higher priority get slots first."),
      Integer("max_concurrent_runs", &SweepSpec::max_concurrent_runs, Between(0, 10'000),
              "Runs of this sweep that may hold slots at once; 0: no cap."),
  };
  return fields;
}

const std::vector<Field<domain::EarlyStopping>>& EarlyStoppingFields() {
  using domain::EarlyStopping;
  static const std::vector<Field<EarlyStopping>> fields = {
      Choice("method", &EarlyStopping::method,
             Names<domain::Halving>{{"none", domain::Halving::kNone}, {"asha", domain::Halving::kAsync}, {"sha", domain::Halving::kSync}},
             "asha: the best of the runs that have reported at a rung so far go on at once; sha: nobody goes on before every run has "
             "reported or ended, so that the outcome does not depend on timing."),
      Choice("metric", &EarlyStopping::metric,
             Names<domain::RungMetric>{{"eval_loss", domain::RungMetric::kEvalLoss}, {"train_loss", domain::RungMetric::kTrainLoss}},
             "What runs are compared by, smaller is better. eval_loss: the first held-out evaluation at or after the rung (perplexity "
             "gives the same order); train_loss: the mean over the last window_steps steps."),
      Integer("min_steps", &EarlyStopping::min_steps, Between(1, 1e9),
              "Step of the first rung; the next ones follow at reduction_factor times the step before."),
      Integer("reduction_factor", &EarlyStopping::reduction_factor, Between(2, 1000), "One in so many goes on at each rung."),
      Integer("window_steps", &EarlyStopping::window_steps, Between(1, 10'000), "Of train_loss."),
  };
  return fields;
}

const std::vector<Field<DataSource>>& DataFields() {
  static const std::vector<Field<DataSource>> fields = {
      Text("path", &DataSource::path,
           "A folder or file of text, JSON lines (.jsonl, .ndjson) or token shards (nanoGPT, llm.c), packed (.gz, .zst) or not; "
           "`python-stdlib` is the Python standard library of this machine. Formats: docs/data.md."),
      Text("dataset", &DataSource::reference, "Instead of path: prepared data, name@hash."),
      Text("tokenizer", &DataSource::tokenizer,
           "bytes; sentencepiece:bpe:<size> or sentencepiece:unigram:<size>, trained on the data; or a path, relative to this file, "
           "of a SentencePiece .model, a tokenizer.json, or a folder with vocab.json and merges.txt."),
      Integer("vocab_size", &DataSource::vocab_size, Between(0, 1 << 24),
              "Size of a vocabulary that is trained, where tokenizer does not say it, or of token shards; 0: GPT-2's for token shards."),
      Text("format", &DataSource::format, "What the files hold: auto, text, jsonl or tokens."),
      Text("field", &DataSource::field, "Which field of JSON lines is the text; a dot leads into an object."),
      Texts("include", &DataSource::include, "File name patterns, such as \"*.py\"; none: every file that is text."),
      Integer("max_bytes", &DataSource::max_bytes, Between(0, 9e15), "Text to use, in name order; 0: all."),
      Number("validation_fraction", &DataSource::validation_fraction, FromTo(0, 1),
             "Share of documents held out, by their hash."),
  };
  return fields;
}

void ReadDataSection(const YamlNode& root, ProblemList* problems, DataSource* data) {
  *data = DataSource();
  data->tokenizer = "bytes";
  const YamlEntry* section = root.Find("data");
  if (section == nullptr) {
    problems->Add(root.place, "data", "is missing; data.path names a folder of text, data.dataset prepared data");
    return;
  }
  if (!section->value->IsMap()) {
    problems->Add(section->value->place, "data", StrCat("must be a map of fields; is ", DescribeNode(*section->value)));
    return;
  }
  ReadFields(*section->value, "data", DataFields(), problems, data);
  const YamlEntry* source =
      section->value->Find("path") != nullptr ? section->value->Find("path") : section->value->Find("dataset");
  data->line = source == nullptr ? section->place.line : source->value->place.line;
  CheckData(*section->value, problems, *data);
}

void ReadSweepFile(const YamlNode& root, ProblemList* problems, SweepFile* file) {
  FileReader(root, problems, file).Read();
}

}  // namespace entrain::sweep
