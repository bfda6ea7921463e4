// The canonical JSON form of a run configuration, and of the model section that probe and checkpoint folders share.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "domain/run_config.h"

namespace entrain::sweep {

// Canonical: keys sorted, no spaces, only fields that differ from the version's defaults (and `version`), numbers in
// their shortest exact form. Equal configurations give equal bytes.
std::string ToCanonicalJson(const domain::RunConfig& config);
// INVALID_ARGUMENT names the JSON pointer of the first unknown, mistyped or impossible field.
absl::StatusOr<domain::RunConfig> ParseRunConfig(std::string_view json);

// The `model` object with every field, as in a numerical case's config.json (flat layer fields, plus `layers` for
// overrides).
std::string ModelToJson(const domain::ModelConfig& model);
absl::StatusOr<domain::ModelConfig> ParseModelJson(std::string_view json);

// The id of a cell: a hash of the canonical form.
CellId MakeCellId(std::string_view canonical_json);

}  // namespace entrain::sweep
