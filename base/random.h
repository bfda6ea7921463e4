// Counter-based random numbers (Philox4x32-10, Salmon et al., SC 2011): a value is a pure function of (seed, stream, counter), so
// that a resumed run draws what an uninterrupted one would.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace entrain {

// Four independent 32-bit words of the block `counter` in stream `stream` of `seed`.
std::array<std::uint32_t, 4> Philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter);

// A cursor over one stream. Copyable; the position is the whole state.
class Rng {
 public:
  Rng(std::uint64_t seed, std::uint64_t stream) : seed_(seed), stream_(stream) {}
  std::uint64_t NextU64();
  // Uniform in [0, bound), without modulo bias; bound > 0.
  std::uint64_t Below(std::uint64_t bound);
  // Uniform in [0, 1).
  double Uniform();
  // Standard normal (Box-Muller).
  double Normal();

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t counter_ = 0;
};

// A pseudo-random permutation of [0, n), a pure function of (seed, stream): position(i) is where the i-th draw lies. Constant
// memory whatever n (a Feistel network with cycle walking).
class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t seed, std::uint64_t stream);
  std::uint64_t operator()(std::uint64_t index) const;

 private:
  std::uint64_t n_;
  std::uint64_t seed_;
  std::uint64_t stream_;
  int half_bits_;
};

// Where new ids come from; passed in, so that a test or the simulator fixes them.
class IdSource {
 public:
  virtual ~IdSource() = default;
  // `length` characters of lower-case base 32 (no i, l, o, u).
  virtual std::string Next(int length) = 0;
};

// Ids from the kernel's random numbers.
class SystemIdSource : public IdSource {
 public:
  std::string Next(int length) override;
};

// Ids from a seed.
class SeededIdSource : public IdSource {
 public:
  explicit SeededIdSource(std::uint64_t seed) : rng_(seed, 0) {}
  std::string Next(int length) override;

 private:
  Rng rng_;
};

}  // namespace entrain
