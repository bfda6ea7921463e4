// A large fleet for benches, built from facts as the coordinator would have: 90 % occupied, what is free scattered in small holes, and a
// queue of gangs of 1 to 64 slots, a fifth of which fit nowhere now.
#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "coordinator/core/core.h"

namespace entrain::bench {

struct FleetSizes {
  std::int64_t workers = 10'000;
  std::int32_t slots = 8;
  std::int64_t owners = 16;
  double occupied = 0.9;
};

class FleetModel {
 public:
  // Every durable fact is added to `facts`, if that is not null.
  FleetModel(const FleetSizes& sizes, const core::CoreConfig& config, std::uint64_t seed, std::vector<domain::Fact>* facts = nullptr);

  // Runs that wait, in sweeps of a hundred.
  void Queue(std::int64_t runs);
  // One more run of the shape.
  void QueueOne(const scheduler::Shape& shape);

  core::State& state() { return state_; }
  std::int64_t now_ms() const { return now_ms_; }
  void Advance(std::int64_t ms) { now_ms_ += ms; }
  // Attempts of one machine that run, in random order; each is given once.
  domain::AttemptEnded NextEnd();
  // What Decide decided.
  void Apply(const std::vector<domain::Fact>& facts);

 private:
  template <typename Body>
  void Emit(Body body);
  void AddSweep(const std::vector<scheduler::Shape>& shapes, std::int64_t priority, std::int64_t cap);
  void Occupy();
  scheduler::Shape SomeShape();

  const FleetSizes sizes_;
  Rng rng_;
  core::State state_;
  std::vector<domain::Fact>* const kept_;
  std::int64_t now_ms_ = 1'000'000;
  std::int64_t sweeps_ = 0;
  std::uint64_t reports_ = 0;
  std::vector<domain::AttemptKey> running_;
};

}  // namespace entrain::bench
