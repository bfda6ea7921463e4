// One rank of the collective test: checks every operation against values that it computes alone. Exit code 0 means all were right.
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "worker/collective/collective.h"

namespace {

using entrain::collective::Collective;
using entrain::collective::Work;

int failures = 0;

void Expect(bool condition, const std::string& what) {
  if (condition) return;
  ++failures;
  std::fprintf(stderr, "wrong: %s\n", what.c_str());
}

// Numbers of very different size: their sum depends on the order.
std::vector<float> Input(int rank, std::uint64_t stream, std::int64_t count) {
  std::uint64_t state = static_cast<std::uint64_t>(rank) * 1000 + stream + 1;
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const float mantissa = static_cast<float>(static_cast<std::int32_t>(state >> 32));
    value = std::ldexp(mantissa, static_cast<int>(state >> 20 & 31) - 47);
  }
  return values;
}

std::vector<float> SumInRankOrder(int world_size, std::uint64_t stream, std::int64_t count) {
  std::vector<float> sum = Input(0, stream, count);
  for (int rank = 1; rank < world_size; ++rank) {
    const std::vector<float> other = Input(rank, stream, count);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  }
  return sum;
}

// Several reductions under way at once, as gradient buckets are.
void CheckSums(Collective& collective) {
  const std::vector<std::int64_t> counts = {0, 1, 2, 5, 1000, 262'145, 1'200'000};
  std::vector<std::vector<float>> buffers;
  for (std::size_t i = 0; i < counts.size(); ++i) buffers.push_back(Input(collective.rank(), i, counts[i]));
  std::vector<std::unique_ptr<Work>> works;
  for (std::size_t i = 0; i < counts.size(); ++i) works.push_back(collective.AllReduceSum(buffers[i].data(), counts[i]));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    Expect(works[i]->Wait().ok(), "status of sum " + std::to_string(counts[i]));
    const std::vector<float> expected = SumInRankOrder(collective.world_size(), i, counts[i]);
    Expect(std::memcmp(buffers[i].data(), expected.data(), expected.size() * sizeof(float)) == 0,
           "sum of " + std::to_string(counts[i]) + " floats, bit for bit");
  }
}

void CheckMax(Collective& collective) {
  const float rank = static_cast<float>(collective.rank());
  std::vector<float> values = {rank, -rank, -std::numeric_limits<float>::infinity(), 7.0f};
  if (collective.rank() == 0) values[3] = std::nanf("");
  Expect(collective.AllReduceMax(values.data(), 4).ok(), "status of max");
  Expect(values[0] == static_cast<float>(collective.world_size() - 1), "max of ranks");
  Expect(values[1] == 0.0f, "max of negative ranks");
  Expect(std::isinf(values[2]) && values[2] < 0, "max of -inf");
  Expect(std::isnan(values[3]), "NaN of one rank reaches all");
}

void CheckBroadcast(Collective& collective) {
  const int root = collective.world_size() - 1;
  std::vector<char> bytes(100'001, collective.rank() == root ? 'r' : '-');
  Expect(collective.Broadcast(bytes.data(), static_cast<std::int64_t>(bytes.size()), root).ok(), "status of broadcast");
  for (const char byte : bytes) {
    if (byte != 'r') return Expect(false, "bytes of broadcast");
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  const int world_size = argc > 2 ? std::atoi(argv[2]) : 1;
  auto collective = entrain::collective::MakeCollective("mpi");
  if (!collective.ok()) {
    std::fprintf(stderr, "%s\n", collective.status().ToString().c_str());
    return 2;
  }
  Expect((*collective)->world_size() == world_size, "world size");
  if (mode == "abort") {
    if ((*collective)->rank() == world_size - 1) (*collective)->Abort(75);
    (void)(*collective)->Barrier();  // never comes back
    return 3;
  }
  for (int round = 0; round < 2; ++round) {
    CheckSums(**collective);
    CheckMax(**collective);
    CheckBroadcast(**collective);
    Expect((*collective)->Barrier().ok(), "barrier");
  }
  return failures == 0 ? 0 : 1;
}
