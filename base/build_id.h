// Which program this is: the release and the source it was built from.
#pragma once

#include <string>
#include <string_view>

namespace entrain {

// "0.1.0".
std::string_view Version();
// `git describe` of the configured tree, e.g. "v0.1.0-12-gabc1234-dirty"; "unknown" outside a git checkout.
std::string_view BuildId();
// What --version prints: "entrain 0.1.0 (build abc1234)".
std::string VersionLine(std::string_view program);

}  // namespace entrain
