// One field of a JSON record.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace entrain::data {

// Replaces `text` by the string under `field` of the object that `record` is; a dot leads into an object (meta.text). Of a key given twice
// the last counts. INVALID_ARGUMENT says what is wrong, with the byte in the record where that is known.
absl::Status ReadTextField(std::string_view record, const std::string& field, std::string* text);

}  // namespace entrain::data
