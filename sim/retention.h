// What retention asks of the core: at any moment, for any checkpoints, also for those that are needed. The core refuses those, and the referee watches.
#pragma once

#include "base/random.h"
#include "sim/coordinator.h"
#include "sim/stage.h"

namespace entrain::sim {

class Retention {
 public:
  // Draws from random numbers of its own.
  Retention(Stage* stage, Coordinator* coordinator) : stage_(stage), coordinator_(coordinator), rng_(stage->seed(), 29) {}

  // From now on, to the end of the simulation.
  void Begin();

 private:
  void Pass();

  Stage* const stage_;
  Coordinator* const coordinator_;
  Rng rng_;
};

}  // namespace entrain::sim
