#include "domain/fact.h"

#include "base/hash.h"
#include "base/strings.h"

namespace entrain::domain {

RunId MakeRunId(const SweepId& sweep, const CellId& cell, std::int64_t generation) {
  const std::string hash = HashHex(StrCat(sweep.value(), "/", cell.value(), "/", generation));
  return RunId(StrCat("r", hash.substr(0, 10)));
}

}  // namespace entrain::domain
