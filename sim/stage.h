// What every part of one simulation shares: virtual time, the seed's random numbers, how bad the weather is, and the trace.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "base/ids.h"
#include "base/random.h"
#include "base/strings.h"
#include "sim/timeline.h"

namespace entrain::sim {

// Drawn from the seed, so that seeds differ in kind and not only in luck. Probabilities are per thousand.
struct Weather {
  std::uint64_t lose_per_mille = 0;       // a message and all that follow it on its stream
  std::uint64_t duplicate_per_mille = 0;
  std::uint64_t slow_per_mille = 0;       // a message that takes seconds
  bool reorder = false;                   // messages of one stream overtake each other, which gRPC never does
  std::uint64_t fail_attempt_per_mille = 0;
  std::uint64_t fail_commit_per_mille = 0;
  std::uint64_t fail_append_per_mille = 0;
  // What the sample lane says waits for the core: one batch in so many up to so long.
  std::uint64_t one_slow_batch_in = 6;
  std::int64_t slow_batch_ms = 5'000;
  // Gangs that lie here alone lose their device or never come up, but for one in four; empty: no such machine.
  WorkerId bad_machine;
};

class Stage {
 public:
  Stage(std::uint64_t seed, bool keep_trace) : seed_(seed), keep_trace_(keep_trace), rng_(seed, 17) {}

  std::uint64_t seed() const { return seed_; }
  Timeline& timeline() { return timeline_; }
  std::int64_t now_ms() const { return timeline_.now_ms(); }
  Rng& rng() { return rng_; }
  // Uniform in [low, high].
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(rng_.Below(static_cast<std::uint64_t>(high - low + 1)));
  }
  bool Chance(std::uint64_t per_mille) { return per_mille > 0 && rng_.Below(1000) < per_mille; }

  Weather& weather() { return weather_; }
  // Until Calm, things go wrong.
  bool faults() const { return faults_; }
  std::int64_t calm_since_ms() const { return calm_since_ms_; }
  void Calm() {
    faults_ = false;
    calm_since_ms_ = now_ms();
    weather_ = {};
  }

  bool keeps_trace() const { return keep_trace_; }
  // One line of the trace; costs nothing unless it is kept.
  template <typename... Parts>
  void Note(const Parts&... parts) {
    if (keep_trace_) trace_.push_back(StrCat("t=", timeline_.now_ms(), " ", parts...));
  }
  // The first sentence is the one that counts; the simulation ends with it.
  template <typename... Parts>
  void Break(const Parts&... parts) {
    if (!broken_.empty()) return;
    broken_ = StrCat(parts...);
    Note("BROKEN ", broken_);
  }
  const std::string& broken() const { return broken_; }
  const std::deque<std::string>& trace() const { return trace_; }

  std::int64_t worker_events = 0;

 private:
  std::uint64_t seed_;
  bool keep_trace_;
  Rng rng_;
  Timeline timeline_;
  Weather weather_;
  bool faults_ = true;
  std::int64_t calm_since_ms_ = 0;
  std::string broken_;
  std::deque<std::string> trace_;
};

}  // namespace entrain::sim
