// The coordinator's mind. Decide(state, event) -> facts + effects, and Apply(state, fact), which never decides. Pure and
// single-threaded; the server commits the facts between the two.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "coordinator/core/state.h"
#include "domain/effect.h"
#include "domain/event.h"
#include "domain/fact.h"

namespace entrain::core {

struct Decision {
  std::vector<domain::Fact> facts;
  std::vector<domain::Effect> effects;
  // The state with the facts applied: what Apply of each, in order, makes of the state before. Valid once they are durable.
  State after;
};

// The facts are to be stored; then the effects leave. A caller that moves the state in, and on from `after`, has a burst of events decided
// without copying the paths that they share again and again.
Decision Decide(State state, const domain::Event& event);

void Apply(State* state, const domain::Fact& fact);

// Whether a launch may still leave, given the newest state and the incarnation of its worker's open stream. A worker that connects while the
// launch waits to become durable says that it has no such attempt: the core closes it when it hears that, or has done so already, and what
// started after all would meet the next attempt on its slots.
bool IsStillMeant(const State& state, const domain::LaunchAttempt& launch, std::uint64_t incarnation);

// Effects that a restarted coordinator owes the sample lane (what workers are owed follows from their WorkerJoined).
std::vector<domain::Effect> EffectsAfterRecovery(const State& state);

// Every invariant that does not hold, as sentences; empty when all is well.
std::vector<std::string> BrokenInvariants(const State& state);

}  // namespace entrain::core
