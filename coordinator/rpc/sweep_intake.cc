#include "coordinator/rpc/sweep_intake.h"

#include <optional>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/rpc/limits.h"

namespace entrain::rpc {
namespace {

// A dataset that stands in when a file is only validated: its hash is no content's.
const char* const kPretendedHash = "00000000000000000000000000000000";
constexpr std::int64_t kByteVocabulary = 256;
constexpr std::int64_t kMaxPriority = 1000;

std::optional<domain::DatasetRef> ParseReference(std::string_view text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string_view::npos || at == 0 || at + 1 == text.size()) return std::nullopt;
  return domain::DatasetRef{std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

std::string Lines(const std::vector<sweep::Problem>& problems) {
  std::string text;
  for (const sweep::Problem& problem : problems) {
    if (!text.empty()) text += '\n';
    if (problem.line > 0) StrAppend(&text, "line ", problem.line, ", column ", problem.column, ": ");
    if (!problem.field.empty()) StrAppend(&text, problem.field, ": ");
    text += problem.message;
  }
  return text;
}

// What the file's data section is bound to; nullopt when nobody said.
absl::StatusOr<std::optional<sweep::BoundDataset>> FindBinding(const sweep::DataSource& source, const Bindings& bindings) {
  std::string reference = source.reference;
  std::int64_t vocab_size = 0;
  for (const v1::DatasetBinding& binding : bindings) {
    const bool same = reference.empty() ? binding.path() == source.path : binding.reference() == reference;
    if (!same) continue;
    reference = binding.reference();
    vocab_size = binding.vocab_size();
    break;
  }
  if (reference.empty()) return std::optional<sweep::BoundDataset>();
  const std::optional<domain::DatasetRef> ref = ParseReference(reference);
  if (!ref) return absl::InvalidArgumentError(StrCat("datasets.reference: \"", reference, "\" is not name@hash"));
  if (vocab_size < 0) return absl::InvalidArgumentError(StrCat("datasets.vocab_size is negative: ", vocab_size));
  return std::optional<sweep::BoundDataset>({*ref, vocab_size});
}

absl::Status CheckRequest(const v1::SubmitRequest& request) {
  if (request.yaml().empty()) return absl::InvalidArgumentError("yaml is empty");
  if (request.yaml().size() > kMaxYamlBytes) {
    return absl::ResourceExhaustedError(StrCat("max_yaml_bytes: yaml has ", request.yaml().size(), " bytes, at most ", kMaxYamlBytes, " are allowed"));
  }
  if (request.idempotency_key().size() > kMaxNameBytes) return absl::InvalidArgumentError("idempotency_key is too long");
  if (request.owner().size() > kMaxNameBytes) return absl::InvalidArgumentError("owner is too long");
  return absl::OkStatus();
}

// The artifact root knows best; a client that prepared elsewhere must at least have pushed.
absl::Status CheckDataset(const artifacts::ArtifactStore& artifacts, sweep::BoundDataset* bound) {
  const absl::StatusOr<std::int64_t> stored = artifacts.ReadVocabSize(bound->ref.hash);
  if (absl::IsNotFound(stored.status())) {
    return absl::NotFoundError(StrCat("dataset ", bound->ref.ToString(), " is not in the artifact root ", artifacts.root(),
                                      ": prepare it there first"));
  }
  ENTRAIN_RETURN_IF_ERROR(stored.status());
  artifacts.TouchDataset(bound->ref.hash);
  if (bound->vocab_size != 0 && bound->vocab_size != *stored) {
    return absl::InvalidArgumentError(StrCat("datasets.vocab_size is ", bound->vocab_size, ", dataset ", bound->ref.ToString(),
                                             " has ", *stored));
  }
  bound->vocab_size = *stored;
  return absl::OkStatus();
}

}  // namespace

std::vector<sweep::Problem> ParseForValidation(std::string_view yaml, const Bindings& bindings, const std::string& owner,
                                               sweep::ParsedSweep* parsed) {
  if (yaml.size() > kMaxYamlBytes) return {{0, 0, "", StrCat("the file has ", yaml.size(), " bytes, at most ", kMaxYamlBytes)}};
  sweep::DataSource source;
  // Problems of the data section come again with everything else's.
  sweep::BoundDataset bound{{"dataset", kPretendedHash}, kByteVocabulary};
  if (sweep::ParseDataSource(yaml, &source).empty()) {
    const auto found = FindBinding(source, bindings);
    if (!found.ok()) return {{source.line, 1, "data", std::string(found.status().message())}};
    if (*found) bound = **found;
    if (bound.vocab_size == 0) bound.vocab_size = kByteVocabulary;
  }
  return sweep::ParseSweep(yaml, bound, owner, parsed);
}

absl::StatusOr<sweep::ParsedSweep> ParseForAdmission(const v1::SubmitRequest& request, const artifacts::ArtifactStore& artifacts) {
  ENTRAIN_RETURN_IF_ERROR(CheckRequest(request));
  sweep::DataSource source;
  sweep::ParsedSweep parsed;
  if (!sweep::ParseDataSource(request.yaml(), &source).empty()) {
    return absl::InvalidArgumentError(Lines(ParseForValidation(request.yaml(), request.datasets(), request.owner(), &parsed)));
  }
  ENTRAIN_ASSIGN_OR_RETURN(std::optional<sweep::BoundDataset> bound, FindBinding(source, request.datasets()));
  if (!bound) {
    return absl::InvalidArgumentError(StrCat("data: \"", source.path, "\" is not bound to a prepared dataset (datasets in the request)"));
  }
  ENTRAIN_RETURN_IF_ERROR(CheckDataset(artifacts, &*bound));
  const std::string owner = request.owner().empty() ? "unknown" : request.owner();
  const std::vector<sweep::Problem> problems = sweep::ParseSweep(request.yaml(), *bound, owner, &parsed);
  if (!problems.empty()) return absl::InvalidArgumentError(Lines(problems));
  if (request.has_priority()) parsed.spec.priority = request.priority();
  if (parsed.spec.priority < -kMaxPriority || parsed.spec.priority > kMaxPriority) {
    return absl::InvalidArgumentError(StrCat("priority must be from ", -kMaxPriority, " to ", kMaxPriority, ", is ", parsed.spec.priority));
  }
  if (parsed.spec.runs.size() > kMaxRunsPerSweep) {
    return absl::ResourceExhaustedError(StrCat("max_runs_per_sweep: the sweep has ", parsed.spec.runs.size(), " runs, at most ", kMaxRunsPerSweep));
  }
  return parsed;
}

}  // namespace entrain::rpc
