#include "sim/simulation.h"

#include <memory>
#include <utility>

#include "sim/coordinator.h"
#include "sim/machine.h"
#include "sim/people.h"
#include "sim/retention.h"
#include "sim/results.h"

namespace entrain::sim {
namespace {

constexpr std::int32_t kSlots[] = {2, 3, 4, 2, 1};
// From the calm on.
constexpr std::int64_t kEndLimitMs = 30 * 60 * 1000;
// One seed in so many ends with a crowd that would starve a large gang.
constexpr std::uint64_t kCrowdEvery = 8;

core::CoreConfig ConfigOf(std::uint64_t seed) {
  Rng rng(seed, 5);
  core::CoreConfig config;
  config.lease_ms = 8'000 + static_cast<std::int64_t>(rng.Below(8'000));
  config.backoff_ms = rng.Below(3) == 0 ? 0 : 200 + static_cast<std::int64_t>(rng.Below(1'500));
  config.max_backoff_ms = 5'000;
  config.age_limit_ms = 20'000 + static_cast<std::int64_t>(rng.Below(20'000));
  config.min_run_before_preempt_ms = static_cast<std::int64_t>(rng.Below(8'000));
  config.quarantine_ms = 5'000 + static_cast<std::int64_t>(rng.Below(20'000));
  config.max_history = 12;
  config.max_checkpoints_kept = 3;
  return config;
}

class Simulation {
 public:
  explicit Simulation(const Options& options)
      : options_(options),
        stage_(options.seed, options.keep_trace),
        network_(&stage_),
        config_(ConfigOf(options.seed)),
        referee_(&stage_, config_),
        coordinator_(&stage_, &network_, &referee_, config_),
        people_(&stage_, &network_, &referee_, &coordinator_),
        retention_(&stage_, &coordinator_) {}

  Report Run() {
    SetWeather();
    SetUp();
    const std::int64_t calm_at_ms = stage_.Between(200'000, 260'000);
    Schedule(calm_at_ms);
    while (stage_.broken().empty() && stage_.now_ms() < calm_at_ms) stage_.timeline().Step();
    if (stage_.broken().empty()) Calm();
    while (stage_.broken().empty() && !Over() && stage_.now_ms() < calm_at_ms + kEndLimitMs) stage_.timeline().Step();
    if (stage_.broken().empty()) CheckEnd();
    return MakeReport();
  }

 private:
  void SetWeather() {
    Weather& weather = stage_.weather();
    weather.lose_per_mille = stage_.rng().Below(6);
    weather.duplicate_per_mille = stage_.rng().Below(80);
    weather.slow_per_mille = stage_.rng().Below(40);
    weather.reorder = stage_.rng().Below(2) == 0;
    weather.fail_attempt_per_mille = stage_.rng().Below(350);
    weather.fail_commit_per_mille = stage_.rng().Below(8);
    weather.fail_append_per_mille = stage_.rng().Below(15);
    if (stage_.rng().Below(4) == 0) {
      weather.one_slow_batch_in = 2;
      weather.slow_batch_ms = 25'000;
    }
    if (stage_.rng().Below(3) == 0) weather.bad_machine = WorkerId(StrCat("w", stage_.Between(1, std::size(kSlots))));
  }

  void SetUp() {
    coordinator_.Start();
    // In a quarter of the seeds one machine is reached by no other.
    const int alone = stage_.rng().Below(4) == 0 ? static_cast<int>(stage_.rng().Below(std::size(kSlots))) : -1;
    for (int i = 0; i < static_cast<int>(std::size(kSlots)); ++i) {
      domain::WorkerInfo info{.id = WorkerId(StrCat("w", i + 1)), .name = StrCat("host", i + 1), .version = "sim", .slots = kSlots[i], .device = "cpu",
                              .peer_address = i == alone ? std::string() : StrCat("host", i + 1, ":7071")};
      machines_.push_back(std::make_unique<Machine>(&stage_, &network_, &referee_, std::move(info)));
      Machine* const machine = machines_.back().get();
      machine->OnPartForgotten([this](const domain::AttemptKey& key) {
        stage_.timeline().After(stage_.Between(1, 15'000), [this, key] {
          for (const auto& m : machines_) m->LosePartOf(key);
        });
      });
      if (stage_.rng().Below(3) == 0) machine->SetClockRate(0.5 + 1.5 * stage_.rng().Uniform());
      stage_.timeline().After(stage_.Between(0, 20'000), [machine] { machine->StartDaemon(); });
    }
    people_.SubmitSome(options_.runs, 150'000);
    retention_.Begin();
  }

  // One crash and one partition at least; the rest at random.
  void Schedule(std::int64_t calm_at_ms) {
    const auto at = [&](std::int64_t margin_ms, auto action) {
      stage_.timeline().After(stage_.Between(5'000, calm_at_ms - margin_ms), action);
    };
    for (std::int64_t n = stage_.Between(1, 3); n > 0; --n) at(30'000, [this] { CrashCoordinator(); });
    for (std::int64_t n = stage_.Between(1, 4); n > 0; --n) at(20'000, [this] { Partition(); });
    for (std::int64_t n = stage_.Between(0, 6); n > 0; --n) at(10'000, [this] { Some()->CrashDaemon(stage_.Between(50, 25'000)); });
    for (std::int64_t n = stage_.Between(0, 2); n > 0; --n) at(20'000, [this] { PowerOff(); });
    for (std::int64_t n = stage_.Between(0, 3); n > 0; --n) at(20'000, [this] { DrainSome(); });
    for (std::int64_t n = stage_.Between(0, 3); n > 0; --n) at(10'000, [this] { Some()->SetClockRate(0.3 + 2.0 * stage_.rng().Uniform()); });
    for (std::int64_t n = stage_.Between(0, 2); n > 0; --n) at(10'000, [this] { Some()->JumpClock(stage_.Between(1'000, 3'600'000)); });
  }

  Machine* Some() { return machines_[stage_.rng().Below(machines_.size())].get(); }

  void CrashCoordinator() {
    // Mostly seconds, sometimes longer than the isolation limit of the workers.
    coordinator_.Crash("killed", stage_.rng().Below(6) == 0 ? stage_.Between(60'000, 90'000) : stage_.Between(100, 20'000));
  }

  void Partition() {
    if (!stage_.faults()) return;
    ++partitions_;
    const std::uint64_t direction = stage_.rng().Below(4);
    for (const auto& machine : machines_) {
      if (stage_.rng().Below(2) == 0) continue;
      stage_.Note("cut: ", machine->id().value(), direction == 0 ? " cannot speak" : direction == 1 ? " cannot hear" : " is alone");
      network_.Cut(machine->id(), direction != 1, direction != 0);
    }
    stage_.timeline().After(stage_.Between(500, 45'000), [this] {
      stage_.Note("the links are whole again");
      network_.Heal();
    });
  }

  void PowerOff() {
    if (!stage_.faults()) return;
    Machine* machine = Some();
    for (int tries = 0; tries < 4 && !machine->trains(); ++tries) machine = Some();
    // A damaged disk: folders are gone, also of gangs that the coordinator has told the machine to start and not heard of since.
    const bool damaged = stage_.rng().Below(2) == 0;
    machine->PowerOff(stage_.rng().Below(2) == 0 ? stage_.Between(500, 6'000) : stage_.Between(1'000, 40'000), [this, damaged](const domain::AttemptKey& key) {
      return damaged && referee_.durable().FindAttempt(key) != nullptr;
    });
    stage_.timeline().After(stage_.Between(100, 15'000), [this, id = machine->id()] {
      for (const auto& other : machines_) other->LosePartOn(id);
    });
  }

  void DrainSome() {
    if (!stage_.faults()) return;
    Machine* const machine = Some();
    machine->Drain(true, stage_.rng().Below(2) == 0);
    stage_.timeline().After(stage_.Between(2'000, 20'000), [machine] { machine->Drain(false, false); });
  }

  void Calm() {
    stage_.Note("from here on nothing fails");
    stage_.Calm();
    network_.Heal();
    for (const auto& machine : machines_) {
      machine->SetClockRate(1.0);
      machine->Drain(false, false);
    }
    people_.Settle();
    if (options_.seed % kCrowdEvery == 0) people_.SubmitCrowd();
  }

  bool Over() {
    if (coordinator_.events() < options_.min_events || !people_.all_answered() || !coordinator_.running()) return false;
    const samples::PublishedState::View state = coordinator_.state();
    for (const auto& [id, sweep] : state->sweeps) {
      if (sweep->unfinished_runs > 0) return false;
    }
    if (!state->attempts.empty() || referee_.living_gangs() > 0) return false;
    for (const auto& machine : machines_) {
      if (!machine->idle()) return false;
    }
    return true;
  }

  void CheckEnd() {
    const samples::PublishedState::View state = coordinator_.state();
    referee_.CheckEnd(*state);
    if (!people_.all_answered()) stage_.Break("nothing fails any more, and a submit is never answered");
    for (const auto& machine : machines_) {
      if (!machine->idle()) stage_.Break("every run has ended, and a machine does not come to rest: ", machine->Describe());
    }
    CheckResults(*state, &coordinator_.samples(), &stage_);
  }

  Report MakeReport() {
    Report report;
    report.seed = options_.seed;
    report.broken = stage_.broken();
    report.core_events = coordinator_.events();
    report.worker_events = stage_.worker_events;
    report.runs = people_.runs();
    report.virtual_ms = stage_.now_ms();
    report.coordinator_crashes = coordinator_.crashes();
    report.partitions = partitions_;
    report.failed_writes = coordinator_.disk().failed_writes();
    report.torn_writes = coordinator_.disk().torn_writes();
    report.coverage = coordinator_.coverage();
    report.trace.assign(stage_.trace().begin(), stage_.trace().end());
    return report;
  }

  const Options options_;
  Stage stage_;
  Network network_;
  const core::CoreConfig config_;
  Referee referee_;
  Coordinator coordinator_;
  People people_;
  Retention retention_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::int64_t partitions_ = 0;
};

}  // namespace

Report Simulate(const Options& options) { return Simulation(options).Run(); }

}  // namespace entrain::sim
