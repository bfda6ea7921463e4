// Reads the sections that hold run settings: at the top of a sweep file and inside its variants.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sweep/draft.h"
#include "sweep/problem_list.h"
#include "sweep/yaml_tree.h"

namespace entrain::sweep {

class SettingsReader {
 public:
  SettingsReader(ProblemList* problems, std::set<std::string>* failed) : problems_(problems), failed_(failed) {}

  // Reads every entry of the map but those in `reserved`. `where` leads the field names of problems ("variants[2].").
  std::vector<Setting> Read(const YamlNode& map, const std::string& where, const std::vector<std::string>& reserved);

 private:
  void ReadEntry(const YamlEntry& entry, const std::string& prefix, const std::vector<std::string>& reserved);
  void ReadSection(const YamlEntry& entry, const std::string& path);
  void ReadField(const YamlEntry& entry, const FieldSpec& field);
  void ReadLayers(const YamlEntry& entry);
  void ReadLayer(const YamlNode& map, const std::string& path, const std::vector<std::int64_t>& layers);
  void Switch(const YamlEntry& entry, const std::string& path);
  void CheckRivals();
  void Bad(Place place, const std::string& path, const std::string& message) {
    problems_->Add(place, where_ + path, message);
  }

  ProblemList* problems_;
  std::set<std::string>* failed_;
  std::string where_;
  std::vector<Setting> settings_;
};

// The names that may follow `prefix` ("", "model.", "health."): sections and fields of DraftFields.
std::vector<std::string> NamesBelow(const std::string& prefix);

}  // namespace entrain::sweep
