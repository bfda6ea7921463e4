#include "coordinator/pool/pool_file.h"

#include <utility>

#include "base/files.h"
#include "base/status_macros.h"

namespace entrain::pool {
namespace {

using sweep::Field;
using sweep::Place;
using sweep::ProblemList;
using sweep::YamlEntry;
using sweep::YamlNode;

constexpr std::size_t kMaxName = 40;

// As written; names and limits are checked together afterwards.
struct Top {
  std::string pool;
  std::string provider;
  std::string cluster = "entrain";
  domain::SlotKind kind = domain::SlotKind::kCpu;
  std::int64_t slots = 0;
  std::int64_t min = 0;
  std::int64_t max = 0;
  std::int64_t idle_seconds = 300;
  bool gang = false;
  std::int64_t poll_seconds = 5;
  bool peers = false;
};

const std::vector<Field<Top>>& TopFields() {
  using sweep::Between;
  static const std::vector<Field<Top>> fields = {
      sweep::Text("pool", &Top::pool, "name of the pool"),
      sweep::Choice<Top, std::string>("provider", &Top::provider, {{"slurm", "slurm"}, {"kubernetes", "kubernetes"}}, "the engine"),
      sweep::Text("cluster", &Top::cluster, "name of this coordinator at the engine"),
      sweep::Choice<Top, domain::SlotKind>("kind", &Top::kind, {{"cpu", domain::SlotKind::kCpu}, {"gpu", domain::SlotKind::kGpu}},
                                           "what a slot is"),
      sweep::Integer("slots", &Top::slots, Between(1, 4096), "slots of one machine"),
      sweep::Integer("min", &Top::min, Between(0, 10'000), "machines that are kept"),
      sweep::Integer("max", &Top::max, Between(1, 10'000), "machines at most"),
      sweep::Integer("idle_seconds", &Top::idle_seconds, Between(0, 30.0 * 86'400), "a machine unused for so long is given back"),
      sweep::Integer("poll_seconds", &Top::poll_seconds, Between(1, 3'600), "how often the engine is asked what there is"),
      sweep::Bool("gang", &Top::gang, "machines come as one unit for one gang"),
      sweep::Bool("peers", &Top::peers, "gangs may span its machines"),
  };
  return fields;
}

Place PlaceOf(const YamlNode& map, std::string_view key) {
  const YamlEntry* entry = map.Find(key);
  return entry == nullptr ? map.place : entry->value->place;
}

void CheckTop(const YamlNode& map, const Top& top, ProblemList* problems) {
  for (const char* needed : {"pool", "provider", "slots", "max"}) {
    if (map.Find(needed) == nullptr) problems->Add(map.place, needed, "must be given");
  }
  for (const auto& [key, text] : {std::pair{"pool", top.pool}, std::pair{"cluster", top.cluster}}) {
    const std::string why = map.Find(key) == nullptr ? "" : WhyNoPoolName(text);
    if (!why.empty()) problems->Add(PlaceOf(map, key), key, why);
  }
  if (map.Find("max") != nullptr && top.max > 0 && top.min > top.max) {
    problems->Add(PlaceOf(map, "min"), "min", StrCat("is ", top.min, ", more than max (", top.max, ")"));
  }
  if (top.gang && top.min > 0) {
    problems->Add(PlaceOf(map, "min"), "min", "must be 0 with gang: machines come for a waiting gang alone");
  }
  if (top.gang && !top.peers) problems->Add(PlaceOf(map, "peers"), "peers", "must be true with gang: the gang's machines talk to each other");
}

// The map under the provider's name; another provider's is a mistake.
sweep::YamlPointer SectionOf(const YamlNode& map, const std::string& provider, ProblemList* problems) {
  sweep::YamlPointer section;
  for (const char* engine : {"slurm", "kubernetes"}) {
    const YamlEntry* entry = map.Find(engine);
    if (entry == nullptr) continue;
    if (engine != provider) {
      if (!provider.empty()) problems->Add(entry->place, engine, StrCat("the provider is ", provider));
    } else if (!entry->value->IsMap()) {
      problems->Add(entry->value->place, engine, StrCat("must be a map of fields; is ", DescribeNode(*entry->value)));
    } else {
      section = entry->value;
    }
  }
  if (section == nullptr && !provider.empty() && map.Find(provider) == nullptr) {
    problems->Add(map.place, provider, "must be given: what the provider needs to know");
  }
  return section;
}

}  // namespace

std::string WhyNoPoolName(std::string_view text) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const bool good = !text.empty() && text.size() <= kMaxName && is_letter(text.front()) && text.back() != '-' &&
                    std::all_of(text.begin(), text.end(), [&](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '-'; });
  if (good) return "";
  return StrCat("must be 1 to ", kMaxName, " of a-z, 0-9 and -, beginning with a letter and not ending with -; is \"", text, "\"");
}

absl::Status StatusOfProblems(const std::string& path, ProblemList* problems) {
  std::string text;
  for (const sweep::Problem& problem : problems->Take()) {
    StrAppend(&text, text.empty() ? "" : "\n", path);
    if (problem.line > 0) StrAppend(&text, ":", problem.line, ":", problem.column);
    StrAppend(&text, ": ", problem.field, problem.field.empty() ? "" : ": ", problem.message);
  }
  return text.empty() ? absl::OkStatus() : absl::InvalidArgumentError(text);
}

absl::StatusOr<PoolFile> ParsePoolFile(std::string_view text, const std::string& path) {
  ProblemList problems;
  const sweep::YamlPointer root = sweep::ParseYaml(text, &problems);
  if (root != nullptr && !root->IsMap()) problems.Add(root->place, "", StrCat("must be a map of fields; is ", DescribeNode(*root)));
  if (root == nullptr && problems.empty()) problems.Add({}, "", "is empty");
  if (!problems.empty()) return StatusOfProblems(path, &problems);
  Top top;
  ReadFields(*root, TopFields(), "", {"slurm", "kubernetes"}, &top, &problems);
  // Pods always listen for their peers; an allocation's workers need to be told, and certificates.
  if (root->Find("peers") == nullptr) top.peers = top.provider == "kubernetes";
  CheckTop(*root, top, &problems);
  PoolFile file{.path = path, .provider = top.provider, .cluster = top.cluster, .limits = {}, .section = SectionOf(*root, top.provider, &problems)};
  ENTRAIN_RETURN_IF_ERROR(StatusOfProblems(path, &problems));
  file.limits = {.name = top.pool,
                 .shape = {top.kind, static_cast<std::int32_t>(top.slots)},
                 .min_machines = top.min,
                 .max_machines = top.max,
                 .idle_ms = top.idle_seconds * 1000,
                 .gang_shaped = top.gang,
                 .peers = top.peers,
                 .poll_ms = top.poll_seconds * 1000};
  return file;
}

absl::StatusOr<PoolFile> ReadPoolFile(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  return ParsePoolFile(text, path);
}

}  // namespace entrain::pool
