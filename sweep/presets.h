// The paper's variants by name.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sweep/field.h"

namespace entrain::sweep {

struct Preset {
  std::string name;
  std::string doc;
  // Dotted fields, as in a sweep file.
  std::vector<std::pair<std::string, Value>> settings;
};

const std::vector<Preset>& Presets();
// Null when there is none of this name.
const Preset* FindPreset(std::string_view name);

}  // namespace entrain::sweep
