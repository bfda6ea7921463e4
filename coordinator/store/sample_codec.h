// Samples <-> the bytes of their rows. Entropies keep 16 bits of E/U.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "domain/sample.h"

namespace entrain::store {

std::string EncodeSample(const domain::EntropySample& sample, std::int64_t context);
// The step is the row's key and not in the bytes.
absl::StatusOr<domain::EntropySample> DecodeSample(std::int64_t step, std::string_view bytes, std::int64_t context);

}  // namespace entrain::store
