// One fact and one event of every kind that the journal keeps, their fields filled.
#pragma once

#include <vector>

#include "domain/event.h"
#include "domain/fact.h"

namespace entrain::journal {

inline const domain::AttemptKey kKey{RunId("r1"), 2};
inline const domain::Checkpoint kCheckpoint{2, 100, "checkpoints/r1/2/step-100", 1234, "abcd", 80};
inline const domain::AttemptEnd kEnd{domain::EndCause::kOutOfMemory, 42, "rank 0", 137, 2.5, 7};
inline const domain::WorkerInfo kInfo{WorkerId("w1"), "node", "v1", domain::SlotKind::kGpu, 8, "H100", "node:7071"};

domain::SweepSpec SomeSweep();
domain::Verdict SomeVerdict();
std::vector<domain::Fact> OneOfEveryFact();
std::vector<domain::Event> OneOfEveryEvent();

}  // namespace entrain::journal
