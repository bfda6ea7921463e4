// A sweep file, as `entrain submit` sends it to the coordinator: parsed, expanded and estimated, or refused with its problems.
#include <cstdlib>

#include "base/check.h"
#include "sweep/sweep.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace entrain;
  const std::string_view yaml = fuzz::TextOf(bytes, size);
  sweep::DataSource source;
  sweep::ParseDataSource(yaml, &source);
  sweep::ParsedSweep parsed;
  const auto problems = sweep::ParseSweep(yaml, {{"dataset", "00000000000000000000000000000000"}, 256}, "fuzz", &parsed);
  // A refused file leaves nothing behind, an accepted one has runs.
  ENTRAIN_CHECK(problems.empty() != parsed.spec.runs.empty());
  for (const sweep::Problem& problem : problems) ENTRAIN_CHECK(!problem.message.empty());
  return 0;
}
