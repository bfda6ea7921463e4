// One run's samples in step order -> verdict. Pure: the same samples give the same verdict on the coordinator, on a worker, in a
// replay and in a back-test.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "domain/run_config.h"
#include "domain/run_state.h"
#include "domain/sample.h"

namespace entrain::policy {

struct RunShape {
  std::int64_t n_layer = 0;
  std::int64_t n_head = 0;
  std::int64_t context = 0;
  std::int64_t steps = 0;
};

// Entropies as the store keeps them, so that a rule sees the same values live and in a replay: E/U (U = ln(T!)/T) in steps of
// 1/65000, rounded to the nearest, 0 to 65532/65000 = 1.008 U; what lies outside is set to the nearer end. The error is at most
// U/130000 (3e-5 nats at T = 128). Quantising what was read back gives the same codes. With U = 0 (T = 1) every finite value is 0.
inline constexpr std::uint16_t kQuantisedOne = 65000;
inline constexpr std::uint16_t kQuantisedMax = 65532;
inline constexpr std::uint16_t kQuantisedMinusInf = 65533;
inline constexpr std::uint16_t kQuantisedInf = 65534;
inline constexpr std::uint16_t kQuantisedNan = 65535;
std::vector<std::uint16_t> QuantiseEntropy(const std::vector<float>& entropy_nats, std::int64_t context);
std::vector<float> DequantiseEntropy(const std::vector<std::uint16_t>& stored, std::int64_t context);

class RunPolicy {
 public:
  RunPolicy(const domain::HealthRules& rules, const RunShape& shape);
  ~RunPolicy();
  RunPolicy(RunPolicy&&) noexcept;
  RunPolicy& operator=(RunPolicy&&) noexcept;

  // The next sample in step order (entropies already rounded as the store rounds them). The verdict that ends the run, at most one: after it
  // nothing is judged. A step that was seen already is passed over. Another course of the run (an attempt that resumed earlier and replaces
  // later samples) is judged by a new RunPolicy, from the first sample.
  std::optional<domain::Verdict> Observe(AttemptNumber attempt, const domain::EntropySample& sample);
  // The verdicts since the last call that do not end the run (notify, pause), in order; every rule gives at most one.
  std::vector<domain::Verdict> TakeNotices();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace entrain::policy
