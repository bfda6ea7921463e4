// Debian's absl has a string_view of its own, which std::string_view does not convert to. StrCat here takes both; use it instead of
// absl::StrCat.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace entrain {

template <typename T>
const T& AbslArgument(const T& value) {
  return value;
}
inline absl::string_view AbslArgument(std::string_view value) { return absl::string_view(value.data(), value.size()); }

template <typename... Args>
std::string StrCat(const Args&... args) {
  return absl::StrCat(AbslArgument(args)...);
}

template <typename... Args>
void StrAppend(std::string* text, const Args&... args) {
  absl::StrAppend(text, AbslArgument(args)...);
}

}  // namespace entrain
