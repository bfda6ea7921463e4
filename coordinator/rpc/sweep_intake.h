// A sweep's text -> what the core admits: bound to its prepared dataset, checked against the limits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "artifacts/artifact_store.h"
#include "entrain/v1/sweep_service.pb.h"
#include "sweep/sweep.h"

namespace entrain::rpc {

using Bindings = google::protobuf::RepeatedPtrField<v1::DatasetBinding>;

// The problems of the text; empty when `parsed` is set. Without a binding for its data a pretended dataset stands in.
std::vector<sweep::Problem> ParseForValidation(std::string_view yaml, const Bindings& bindings, const std::string& owner,
                                               sweep::ParsedSweep* parsed);

// INVALID_ARGUMENT lists every problem, one a line; NOT_FOUND when the dataset is not in the artifact root.
absl::StatusOr<sweep::ParsedSweep> ParseForAdmission(const v1::SubmitRequest& request, const artifacts::ArtifactStore& artifacts);

}  // namespace entrain::rpc
