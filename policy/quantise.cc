#include <algorithm>
#include <cmath>
#include <limits>

#include "domain/model_config.h"
#include "policy/policy.h"

namespace entrain::policy {
namespace {

std::uint16_t Quantise(float entropy_nats, double bound_nats) {
  if (std::isnan(entropy_nats)) return kQuantisedNan;
  if (std::isinf(entropy_nats)) return entropy_nats > 0 ? kQuantisedInf : kQuantisedMinusInf;
  if (bound_nats <= 0.0) return 0;
  const double code = std::nearbyint(static_cast<double>(entropy_nats) / bound_nats * kQuantisedOne);
  return static_cast<std::uint16_t>(std::clamp(code, 0.0, static_cast<double>(kQuantisedMax)));
}

float Dequantise(std::uint16_t code, double bound_nats) {
  if (code == kQuantisedNan) return std::numeric_limits<float>::quiet_NaN();
  if (code == kQuantisedInf) return std::numeric_limits<float>::infinity();
  if (code == kQuantisedMinusInf) return -std::numeric_limits<float>::infinity();
  return static_cast<float>(static_cast<double>(code) / kQuantisedOne * bound_nats);
}

}  // namespace

std::vector<std::uint16_t> QuantiseEntropy(const std::vector<float>& entropy_nats, std::int64_t context) {
  const double bound_nats = domain::EntropyBoundNats(context);
  std::vector<std::uint16_t> stored;
  stored.reserve(entropy_nats.size());
  for (const float entropy : entropy_nats) stored.push_back(Quantise(entropy, bound_nats));
  return stored;
}

std::vector<float> DequantiseEntropy(const std::vector<std::uint16_t>& stored, std::int64_t context) {
  const double bound_nats = domain::EntropyBoundNats(context);
  std::vector<float> entropy_nats;
  entropy_nats.reserve(stored.size());
  for (const std::uint16_t code : stored) entropy_nats.push_back(Dequantise(code, bound_nats));
  return entropy_nats;
}

}  // namespace entrain::policy
