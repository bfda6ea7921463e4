#include "base/build_id.h"

#include "base/strings.h"
#include "build_id_values.h"

namespace entrain {

std::string_view Version() { return ENTRAIN_VERSION; }

std::string_view BuildId() { return ENTRAIN_BUILD_ID; }

std::string VersionLine(std::string_view program) {
  return StrCat(program, " ", Version(), " (build ", BuildId(), ")");
}

}  // namespace entrain
