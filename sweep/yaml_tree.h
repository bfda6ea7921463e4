// YAML text as a tree with places. Bounded: hostile text ends in a problem, not in exhausted memory or stack.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/field.h"
#include "sweep/problem_list.h"

namespace entrain::sweep {

struct YamlNode;
using YamlPointer = std::shared_ptr<const YamlNode>;

struct YamlEntry {
  std::string key;
  Place place;  // of the key
  YamlPointer value;
};

struct YamlNode {
  enum class Kind { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  Place place;
  std::string text;  // of a scalar
  bool quoted = false;
  std::vector<YamlPointer> items;
  std::vector<YamlEntry> entries;
  // Nodes below and including this one, with every alias counted as what it stands for.
  std::size_t size = 1;

  bool IsMap() const { return kind == Kind::kMap; }
  bool IsList() const { return kind == Kind::kList; }
  bool IsScalar() const { return kind == Kind::kScalar; }
  const YamlEntry* Find(std::string_view key) const;
};

// The one document of the text; null after a problem with the syntax, a duplicate key or a limit. Merge keys (`<<`) are
// resolved.
YamlPointer ParseYaml(std::string_view text, ProblemList* problems);

// "a list", "a map", "the text \"x\"".
std::string DescribeNode(const YamlNode& node);

// The node's value as the field's type; nullopt and a reason when it is none or not allowed.
std::optional<Value> ReadValue(const YamlNode& node, const FieldSpec& field, std::string* why);

}  // namespace entrain::sweep
