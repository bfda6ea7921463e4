// How long the core takes from an event to a decided placement, commit excluded, on a fleet of 10,000 workers x 8 slots.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/strings.h"
#include "bench/coordinator/fleet_model.h"

namespace entrain::bench {
namespace {

struct Flags {
  std::vector<std::int64_t> queued = {1'000, 10'000, 100'000};
  FleetSizes sizes;
  int events = 1'000;
  int bursts = 9;
};

double Quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0.0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(q * static_cast<double>(values.size() - 1))];
}

// Of this thread: a decision is one thread's work and waits for nothing.
std::int64_t CpuNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

double Microseconds(std::int64_t ns) { return static_cast<double>(ns) / 1000.0; }

struct Figures {
  std::int64_t queued = 0;
  double median_us = 0.0;
  double p99_us = 0.0;
  double saturated_median_us = 0.0;
  double saturated_p99_us = 0.0;
  double per_placement_us = 0.0;
  std::size_t placements = 0;
};

std::size_t PlacementsIn(const core::Decision& decision, scheduler::Shape* first, const core::State& state) {
  std::size_t placements = 0;
  for (const domain::Fact& fact : decision.facts) {
    const auto* placed = std::get_if<domain::RunPlaced>(&fact.body);
    if (placed == nullptr) continue;
    if (placements++ == 0 && first != nullptr) *first = scheduler::ShapeOf(state.FindRun(placed->key.run)->spec->resources);
  }
  return placements;
}

// One attempt ends, one run is placed, another of its shape is submitted: the occupation and the queue stay as they are.
void MeasureEvents(const Flags& flags, std::int64_t queued, Figures* figures) {
  core::CoreConfig config;
  config.max_placements_per_event = 1;
  FleetModel model(flags.sizes, config, 7);
  model.Queue(queued);
  std::vector<double> times_us;
  for (int i = 0; i < flags.events + 50; ++i) {
    model.Advance(10);
    const domain::Event event{model.now_ms(), model.now_ms(), model.NextEnd()};
    const std::int64_t begin_ns = CpuNs();
    const core::Decision decision = core::Decide(model.state(), event);
    const std::int64_t end_ns = CpuNs();
    scheduler::Shape shape;
    const bool placed = PlacementsIn(decision, &shape, model.state()) > 0;
    model.Apply(decision.facts);
    if (!placed) continue;
    model.QueueOne(shape);
    if (i >= 50) times_us.push_back(Microseconds(end_ns - begin_ns));
  }
  figures->placements = times_us.size();
  figures->median_us = Quantile(times_us, 0.5);
  figures->p99_us = Quantile(times_us, 0.99);
}

// Everything that fits has been placed; then each end is answered by whatever fits into what it frees, as in a full cluster.
void MeasureSaturated(const Flags& flags, std::int64_t queued, Figures* figures) {
  FleetModel model(flags.sizes, core::CoreConfig(), 7);
  model.Queue(queued);
  std::vector<double> times_us;
  int quiet = 0;
  for (int i = 0; quiet < flags.events && i < 100'000; ++i) {
    model.Advance(10);
    const domain::Event event{model.now_ms(), model.now_ms(), model.NextEnd()};
    const std::int64_t begin_ns = CpuNs();
    const core::Decision decision = core::Decide(model.state(), event);
    const std::int64_t end_ns = CpuNs();
    const std::size_t placements = PlacementsIn(decision, nullptr, model.state());
    model.Apply(decision.facts);
    model.Queue(static_cast<std::int64_t>(placements));
    if (placements > 8) continue;
    ++quiet;
    times_us.push_back(Microseconds(end_ns - begin_ns));
  }
  figures->saturated_median_us = Quantile(times_us, 0.5);
  figures->saturated_p99_us = Quantile(times_us, 0.99);
}

// As many placements as one decision may hold, from the same state each time.
void MeasureBursts(const Flags& flags, std::int64_t queued, Figures* figures) {
  FleetModel model(flags.sizes, core::CoreConfig(), 7);
  model.Queue(queued);
  std::vector<double> times_us;
  for (int i = 0; i < flags.bursts; ++i) {
    const domain::Event end{model.now_ms(), model.now_ms(), model.NextEnd()};
    const std::int64_t begin_ns = CpuNs();
    const core::Decision decision = core::Decide(model.state(), end);
    const double us = Microseconds(CpuNs() - begin_ns);
    const std::size_t placements = PlacementsIn(decision, nullptr, model.state());
    if (placements > 0) times_us.push_back(us / static_cast<double>(placements));
  }
  figures->per_placement_us = Quantile(times_us, 0.5);
}

int Run(const Flags& flags) {
  std::printf("%lld workers x %d slots, %.0f %% occupied, %lld owners; gangs of 1 to 64 slots, a fifth of the queue fits nowhere now\n\n",
              static_cast<long long>(flags.sizes.workers), flags.sizes.slots, flags.sizes.occupied * 100, static_cast<long long>(flags.sizes.owners));
  std::printf("| queued | event to placement, median us | p99 us | saturated: event to all placements, median us | p99 us | a placement in a burst of 256, us |\n|---|---|---|---|---|---|\n");
  double least = 0.0;
  double most = 0.0;
  for (const std::int64_t queued : flags.queued) {
    Figures figures;
    figures.queued = queued;
    MeasureEvents(flags, queued, &figures);
    MeasureSaturated(flags, queued, &figures);
    MeasureBursts(flags, queued, &figures);
    std::printf("| %lld | %.1f | %.1f | %.1f | %.1f | %.1f |\n", static_cast<long long>(queued), figures.median_us, figures.p99_us,
                figures.saturated_median_us, figures.saturated_p99_us, figures.per_placement_us);
    std::fflush(stdout);
    if (queued == flags.queued.front()) least = figures.per_placement_us;
    most = figures.per_placement_us;
  }
  if (least > 0.0) std::printf("\na placement with the longest queue costs %.2f times one with the shortest\n", most / least);
  return 0;
}

}  // namespace
}  // namespace entrain::bench

int main(int argc, char** argv) {
  entrain::bench::Flags flags;
  CLI::App app("Measures the coordinator's scheduling decision on a simulated fleet.");
  app.add_option("--queued", flags.queued, "lengths of the queue")->capture_default_str();
  app.add_option("--workers", flags.sizes.workers, "machines")->capture_default_str();
  app.add_option("--owners", flags.sizes.owners, "who share them")->capture_default_str();
  app.add_option("--events", flags.events, "events a length")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return entrain::bench::Run(flags);
}
