// One settable field: its name, type, allowed values and meaning, with access to the struct that holds it. Every reader
// and writer of settings (canonical JSON, sweep files, the reference, the schema) works from tables of these, so that
// none knows a field the others do not.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace entrain::sweep {

enum class FieldKind { kBool, kInteger, kSeed, kNumber, kText, kChoice, kChoices, kTexts };

// kBool: bool; kInteger: int64; kSeed: uint64; kNumber: double; kText, kChoice: string; kChoices, kTexts: list of
// strings.
using Value = std::variant<bool, std::int64_t, std::uint64_t, double, std::string, std::vector<std::string>>;

// Limits of a number.
struct Range {
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  bool above_minimum = false;  // the minimum itself is not allowed
  bool below_maximum = false;
};
inline constexpr Range Any() { return {}; }
inline constexpr Range AtLeast(double minimum) { return {.minimum = minimum}; }
inline constexpr Range Above(double minimum) { return {.minimum = minimum, .above_minimum = true}; }
inline constexpr Range Between(double minimum, double maximum) { return {.minimum = minimum, .maximum = maximum}; }
inline constexpr Range FromTo(double minimum, double below) {
  return {.minimum = minimum, .maximum = below, .below_maximum = true};
}

struct FieldSpec {
  std::string name;
  FieldKind kind = FieldKind::kText;
  std::string doc;
  Range range;                       // of kInteger and kNumber
  std::vector<std::string> choices;  // of kChoice and kChoices
};

// "must be at least 1 and at most 4096, is 0"; nullopt when the value is allowed. The value has the field's type.
std::optional<std::string> WhyNotAllowed(const FieldSpec& field, const Value& value);
// "an integer, at least 1", "one of: layernorm, none".
std::string DescribeAllowed(const FieldSpec& field);
// As a person writes it: 0.001, true, qk, [q, k].
std::string ToText(const Value& value);
// The shortest decimal that reads back as the same number.
std::string ShortestNumber(double value);

template <typename Section>
struct Field : FieldSpec {
  std::function<Value(const Section&)> get;
  // The value has the field's type and is allowed.
  std::function<void(Section&, const Value&)> set;
};

template <typename Section, typename Member>
Field<Section> MemberField(FieldSpec spec, Member Section::*member) {
  Field<Section> field{std::move(spec), {}, {}};
  field.get = [member](const Section& section) { return Value(section.*member); };
  field.set = [member](Section& section, const Value& value) { section.*member = std::get<Member>(value); };
  return field;
}

template <typename Section>
Field<Section> Integer(std::string name, std::int64_t Section::*member, Range range, std::string doc) {
  return MemberField<Section>({std::move(name), FieldKind::kInteger, std::move(doc), range, {}}, member);
}
template <typename Section>
Field<Section> Seed(std::string name, std::uint64_t Section::*member, std::string doc) {
  return MemberField<Section>({std::move(name), FieldKind::kSeed, std::move(doc), {}, {}}, member);
}
template <typename Section>
Field<Section> Number(std::string name, double Section::*member, Range range, std::string doc) {
  return MemberField<Section>({std::move(name), FieldKind::kNumber, std::move(doc), range, {}}, member);
}
template <typename Section>
Field<Section> Bool(std::string name, bool Section::*member, std::string doc) {
  return MemberField<Section>({std::move(name), FieldKind::kBool, std::move(doc), {}, {}}, member);
}
template <typename Section>
Field<Section> Text(std::string name, std::string Section::*member, std::string doc) {
  return MemberField<Section>({std::move(name), FieldKind::kText, std::move(doc), {}, {}}, member);
}
template <typename Section>
Field<Section> Texts(std::string name, std::vector<std::string> Section::*member, std::string doc) {
  return MemberField<Section>({std::move(name), FieldKind::kTexts, std::move(doc), {}, {}}, member);
}

template <typename Enum>
using Names = std::vector<std::pair<std::string, Enum>>;

template <typename Section, typename Enum>
Field<Section> Choice(std::string name, Enum Section::*member, Names<Enum> names, std::string doc) {
  Field<Section> field{{std::move(name), FieldKind::kChoice, std::move(doc), {}, {}}, {}, {}};
  for (const auto& [text, value] : names) field.choices.push_back(text);
  field.get = [member, names](const Section& section) {
    for (const auto& [text, value] : names) {
      if (value == section.*member) return Value(text);
    }
    return Value(std::string());
  };
  field.set = [member, names](Section& section, const Value& chosen) {
    for (const auto& [text, value] : names) {
      if (text == std::get<std::string>(chosen)) section.*member = value;
    }
  };
  return field;
}

template <typename Section>
const Field<Section>* FindField(const std::vector<Field<Section>>& fields, std::string_view name) {
  for (const Field<Section>& field : fields) {
    if (field.name == name) return &field;
  }
  return nullptr;
}

}  // namespace entrain::sweep
