// A pool file: YAML that says which engine gives machines, of which shape, how many, and whatever that engine needs to know. The operator
// of the coordinator writes it; nothing in it comes from a client.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/strings.h"
#include "coordinator/pool/provider.h"
#include "sweep/field.h"
#include "sweep/problem_list.h"
#include "sweep/yaml_tree.h"

namespace entrain::pool {

struct PoolFile {
  std::string path;
  std::string provider;        // "slurm" or "kubernetes"
  std::string cluster;         // of the coordinator, for the engine: two coordinators at one engine need two names; [a-z0-9-]
  PoolLimits limits;
  sweep::YamlPointer section;  // the map under the provider's name; never null
};

// The text of the file at `path`. INVALID_ARGUMENT lists every problem, one a line, as path:line:column: field: what is wrong.
absl::StatusOr<PoolFile> ParsePoolFile(std::string_view text, const std::string& path);
absl::StatusOr<PoolFile> ReadPoolFile(const std::string& path);

// OK when there is no problem, else the INVALID_ARGUMENT that ParsePoolFile returns; takes them.
absl::Status StatusOfProblems(const std::string& path, sweep::ProblemList* problems);

// Reads the entries of a map into the section by the table of its fields; `prefix` ("slurm.") leads the names in problems. Entries named in
// `reserved` are the caller's.
template <typename Section>
void ReadFields(const sweep::YamlNode& map, const std::vector<sweep::Field<Section>>& fields, const std::string& prefix,
                const std::vector<std::string>& reserved, Section* section, sweep::ProblemList* problems) {
  std::vector<std::string> names = reserved;
  for (const sweep::Field<Section>& field : fields) names.push_back(field.name);
  for (const sweep::YamlEntry& entry : map.entries) {
    if (std::find(reserved.begin(), reserved.end(), entry.key) != reserved.end()) continue;
    const sweep::Field<Section>* field = sweep::FindField(fields, entry.key);
    if (field == nullptr) {
      problems->Add(entry.place, prefix + entry.key, StrCat("unknown field", sweep::DidYouMean(entry.key, names)));
      continue;
    }
    std::string why;
    if (const std::optional<sweep::Value> value = sweep::ReadValue(*entry.value, *field, &why)) {
      field->set(*section, *value);
    } else {
      problems->Add(entry.value->place, prefix + entry.key, why);
    }
  }
}

// "" or why the text is no name that every engine takes: 1 to 40 of a-z, 0-9 and -, beginning with a letter, not ending with -.
std::string WhyNoPoolName(std::string_view text);

}  // namespace entrain::pool
