#include "base/random.h"

#include <cmath>
#include <numbers>
#include <random>

#include "base/check.h"

namespace entrain {
namespace {

constexpr char kBase32[] = "0123456789abcdefghjkmnpqrstvwxyz";

}  // namespace

std::array<std::uint32_t, 4> Philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  std::array<std::uint32_t, 4> x = {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                                    static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
  std::uint32_t k0 = static_cast<std::uint32_t>(seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * x[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * x[2];
    x = {static_cast<std::uint32_t>(p1 >> 32) ^ x[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ x[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return x;
}

std::uint64_t Rng::NextU64() {
  const auto words = Philox(seed_, stream_, counter_++);
  return (static_cast<std::uint64_t>(words[1]) << 32) | words[0];
}

std::uint64_t Rng::Below(std::uint64_t bound) {
  ENTRAIN_CHECK(bound > 0);
  const std::uint64_t limit = UINT64_MAX - UINT64_MAX % bound;
  std::uint64_t value = NextU64();
  while (value >= limit) value = NextU64();
  return value % bound;
}

double Rng::Uniform() { return static_cast<double>(NextU64() >> 11) * 0x1.0p-53; }

double Rng::Normal() {
  const double u = 1.0 - Uniform();
  const double v = Uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

Permutation::Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t stream)
    : n_(n), seed_(seed), stream_(stream), half_bits_(1) {
  ENTRAIN_CHECK(n > 0);
  while (half_bits_ < 31 && (std::uint64_t{1} << (2 * half_bits_)) < n) ++half_bits_;
}

std::uint64_t Permutation::operator()(std::uint64_t index) const {
  ENTRAIN_CHECK(index < n_);
  const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
  std::uint64_t value = index;
  do {
    std::uint64_t left = value >> half_bits_;
    std::uint64_t right = value & mask;
    for (std::uint64_t round = 0; round < 4; ++round) {
      const std::uint64_t mixed = Philox(seed_, stream_, (round << 32) | right)[0] & mask;
      const std::uint64_t next = left ^ mixed;
      left = right;
      right = next;
    }
    value = (left << half_bits_) | right;
  } while (value >= n_);
  return value;
}

std::string SystemIdSource::Next(int length) {
  std::random_device device;
  std::string id;
  for (int i = 0; i < length; ++i) id += kBase32[device() % 32];
  return id;
}

std::string SeededIdSource::Next(int length) {
  std::string id;
  for (int i = 0; i < length; ++i) id += kBase32[rng_.Below(32)];
  return id;
}

}  // namespace entrain
