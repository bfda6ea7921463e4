// Which (state, event) pairs a simulation reached. The rows are the kinds of event that Decide dispatches on, the columns the states
// of what the event is about; a new kind of event does not compile until it has a row here.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "coordinator/core/state.h"
#include "domain/event.h"

namespace entrain::sim {

class Coverage {
 public:
  // Before the event is decided.
  void Reach(const core::State& state, const decltype(domain::Event::body)& body);
  void Add(const Coverage& other);

  std::size_t reached() const;
  // All pairs but the unreachable ones.
  static std::size_t LegalPairs();
  double Share() const { return static_cast<double>(reached()) / static_cast<double>(LegalPairs()); }
  // Legal pairs never reached, and unreachable ones that were: the second list must be empty.
  std::vector<std::string> Missed() const;
  std::vector<std::string> Impossible() const;
  // "state x event: why it cannot be".
  static std::vector<std::string> Unreachable();

 private:
  using Pair = std::pair<std::string, std::string>;  // (state, event)
  std::map<Pair, std::int64_t> seen_;
};

}  // namespace entrain::sim
