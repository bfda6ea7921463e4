// A whole text packed with gzip.
#pragma once

#include <string>
#include <string_view>

namespace entrain::data {

// Without a name or a time in its header: the same text gives the same bytes.
std::string Gzip(std::string_view text);

}  // namespace entrain::data
