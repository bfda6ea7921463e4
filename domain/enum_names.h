// The texts of an enumeration, as people, the wire and the store read them: one table serves both directions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/check.h"

namespace entrain::domain {

template <typename Enum>
struct Name {
  Enum value;
  std::string_view text;
};
// Clang 14, which builds the fuzz targets, deduces nothing for an aggregate by itself.
template <typename Enum>
Name(Enum, const char*) -> Name<Enum>;

// Every enumerator must be in its table.
template <typename Table, typename Enum>
std::string_view TextOf(const Table& table, Enum value) {
  for (const auto& name : table) {
    if (name.value == value) return name.text;
  }
  CheckFailed(__FILE__, __LINE__, "enumerator without a name", std::to_string(static_cast<int>(value)));
}

template <typename Enum, typename Table>
std::optional<Enum> ValueOf(const Table& table, std::string_view text) {
  for (const auto& name : table) {
    if (name.text == text) return name.value;
  }
  return std::nullopt;
}

}  // namespace entrain::domain
