// Random events, legal and not, against all invariants; then nothing fails any more and every run must end. A failing seed prints
// the sentence and the number of its event; the same seed gives the same history.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.h"
#include "base/strings.h"
#include "coordinator/core/compact.h"
#include "tests/coordinator/core/world.h"

namespace entrain::core {
namespace {

using domain::AttemptKey;

class RandomEvents {
 public:
  explicit RandomEvents(std::uint64_t seed) : rng_(seed, 3), world_(Config(seed)) {}

  World& world() { return world_; }
  const std::set<std::string>& seen() const { return seen_; }

  void Step() {
    world_.Advance(static_cast<std::int64_t>(rng_.Below(1'500)));
    if (rng_.Below(60) == 0) world_.Restart();
    switch (rng_.Below(22)) {
      case 0: Submit(); break;
      case 1:
      case 2: Join(); break;
      case 3: Note(world_.Do(domain::WorkerHeartbeat{Worker(), rng_.Below(8) == 0})); break;
      case 4:
      case 5: HeartbeatMost(); break;
      case 6: Note(world_.Do(domain::WorkerDisconnected{Worker(), rng_.Below(10)})); break;
      case 7: Act(); break;
      case 8: Note(world_.Do(domain::RetryRun{1, AnyRun(), "bob"})); break;
      case 9: Verdict(); break;
      case 10: Judged(); break;
      case 11: Note(world_.Do(domain::Tick{})); break;
      case 12: Checkpoint(); break;
      case 13:
      case 14: Started(); break;
      case 15: Rung(); break;
      case 16: OnWorker(); break;
      case 17:
      case 18: Retire(); break;
      case 19: Restored(); break;
      default: Ended(); break;
    }
  }

 private:
  static CoreConfig Config(std::uint64_t seed) {
    CoreConfig config;
    config.lease_ms = 8'000;
    config.backoff_ms = seed % 2 == 0 ? 0 : 500;
    config.max_backoff_ms = 4'000;
    config.age_limit_ms = 5'000;
    config.min_run_before_preempt_ms = 2'000;
    config.quarantine_after = 2;
    config.quarantine_ms = 10'000;
    config.max_placements_per_event = seed % 3 == 0 ? 1000 : 64;
    config.max_history = 10;
    config.max_attempts_kept = 6;
    config.max_checkpoints_kept = 3;
    return config;
  }

  void Note(const std::vector<domain::Effect>& effects) {
    for (const auto& [id, run] : world_.state().runs) seen_.insert(std::string(ToString(run->state)));
    for (const domain::Effect& effect : effects) {
      // The same launch may be sent again, but never with another gang.
      if (const auto* launch = std::get_if<domain::LaunchAttempt>(&effect)) {
        const auto [at, is_new] = launched_.emplace(launch->key, launch->gang);
        EXPECT_TRUE(is_new || at->second == launch->gang) << launch->key.ToString();
      }
    }
  }

  WorkerId Worker() { return WorkerId(StrCat("w", rng_.Below(5))); }

  RunId AnyRun() {
    const auto& runs = world_.state().runs;
    if (runs.empty() || rng_.Below(40) == 0) return RunId("r-unknown");
    auto at = runs.begin();
    for (std::uint64_t skip = rng_.Below(runs.size()); skip > 0; --skip) ++at;
    return at->first;
  }

  // Mostly an attempt that is open, with its head; sometimes any.
  std::pair<WorkerId, AttemptKey> AnyAttempt() {
    const auto& attempts = world_.state().attempts;
    if (!attempts.empty() && rng_.Below(6) != 0) {
      auto at = attempts.begin();
      for (std::uint64_t skip = rng_.Below(attempts.size()); skip > 0; --skip) ++at;
      const auto& members = at->second->gang.members;
      return {rng_.Below(5) == 0 ? members.back().worker : members.front().worker, at->first};
    }
    return {Worker(), {AnyRun(), static_cast<AttemptNumber>(rng_.Below(5))}};
  }

  void Submit() {
    if (world_.state().runs.size() > 25) return;
    domain::SubmitSweep submit;
    submit.request = 1;
    submit.proposed_id = SweepId(StrCat("s", rng_.Below(12)));
    submit.idempotency_key = StrCat("key", rng_.Below(10));
    submit.spec.owner = rng_.Below(2) == 0 ? "ann" : "bob";
    if (rng_.Below(2) == 0) {
      submit.spec.early_stopping = {rng_.Below(2) == 0 ? domain::Halving::kAsync : domain::Halving::kSync, domain::RungMetric::kEvalLoss, 10, 2, 1};
    }
    const domain::RunLimits limits{rng_.Below(4) == 0 ? 20 : 0, rng_.Below(3) == 0 ? 10 : 0};
    submit.spec.priority = static_cast<std::int64_t>(rng_.Below(3));
    submit.spec.max_concurrent_runs = static_cast<std::int64_t>(rng_.Below(3));
    const std::uint64_t runs = rng_.Below(5);
    for (std::uint64_t i = 0; i < runs; ++i) {
      submit.spec.runs.push_back(MakeRunSpec(StrCat("x", i), 1 + static_cast<std::int64_t>(rng_.Below(3)),
                                             1 + static_cast<std::int64_t>(rng_.Below(3)), 100, static_cast<std::int64_t>(rng_.Below(3))));
      submit.spec.runs.back().limits = limits;
      submit.spec.runs.back().early_stopping = submit.spec.early_stopping;
    }
    Note(world_.Do(submit));
  }

  void Join() {
    const WorkerId worker = Worker();
    domain::WorkerJoined joined;
    // Now and then a machine comes back with another number of slots.
    const auto slots = static_cast<std::int32_t>(rng_.Below(30) == 0 ? rng_.Below(5) : 1 + worker.value().back() % 4);
    joined.info = MakeWorkerInfo(worker.value(), slots);
    joined.incarnation = rng_.Below(10) == 0 ? rng_.Below(5) : world_.NextIncarnation(worker);
    for (const auto& [key, attempt] : world_.state().attempts) {
      for (const domain::GangMember& member : attempt->gang.members) {
        if (member.worker == worker && rng_.Below(4) != 0) joined.live_attempts.push_back(key);
      }
    }
    if (rng_.Below(5) == 0) joined.live_attempts.push_back({AnyRun(), static_cast<AttemptNumber>(rng_.Below(4))});
    Note(world_.Do(joined));
  }

  void HeartbeatMost() {
    for (const auto& [id, worker] : State(world_.state()).workers) {
      if (rng_.Below(5) != 0) Note(world_.Do(domain::WorkerHeartbeat{id, worker->draining && rng_.Below(3) != 0}));
    }
  }

  void Act() {
    const domain::RunAction actions[] = {domain::RunAction::kStop, domain::RunAction::kPause, domain::RunAction::kResume,
                                         domain::RunAction::kPause, domain::RunAction::kResume};
    Note(world_.Do(domain::ActOnRun{1, AnyRun(), actions[rng_.Below(5)], "ann"}));
  }

  void Verdict() {
    if (rng_.Below(3) != 0) return;
    const auto [worker, key] = AnyAttempt();
    domain::Verdict verdict;
    verdict.attempt = key.attempt;
    verdict.step = static_cast<std::int64_t>(rng_.Below(100));
    verdict.reason = domain::HaltReason::kCollapse;
    verdict.explanation = "random verdict";
    const domain::RuleAction actions[] = {domain::RuleAction::kStopAndKeep, domain::RuleAction::kStop, domain::RuleAction::kNotify,
                                          domain::RuleAction::kPause, domain::RuleAction::kRescue};
    verdict.action = actions[rng_.Below(5)];
    verdict.rule = rng_.Below(2) == 0 ? "collapse.whole_layer" : "divergence";
    Note(world_.Do(domain::VerdictReached{key.run, verdict}));
  }

  void Rung() {
    const auto [worker, key] = AnyAttempt();
    const Run* run = world_.state().FindRun(key.run);
    const std::int64_t rung = run == nullptr || rng_.Below(5) == 0 ? static_cast<std::int64_t>(rng_.Below(3)) : static_cast<std::int64_t>(run->rungs.size());
    Note(world_.Do(domain::RungReached{key, rung, 1 + static_cast<std::int64_t>(rng_.Below(100)), rng_.Uniform()}));
    Note(world_.Do(domain::RunProgressed{key}));
  }

  void OnWorker() {
    constexpr domain::WorkerAction kActions[] = {domain::WorkerAction::kQuarantine, domain::WorkerAction::kRelease, domain::WorkerAction::kForget,
                                                 domain::WorkerAction::kGone};
    const domain::WorkerAction action = kActions[rng_.Below(4)];
    // With no worker at all nothing could ever end.
    if (action == domain::WorkerAction::kGone && world_.state().workers.size() < 2) return;
    Note(world_.Do(domain::ActOnWorker{1, Worker(), action, "ann", ""}));
  }

  void Retire() {
    const RunId id = AnyRun();
    const Run* run = world_.state().FindRun(id);
    if (run == nullptr) return;
    if (rng_.Below(3) == 0) Note(world_.Do(domain::ReleaseSweep{1, run->sweep, "ann"}));
    domain::RetireCheckpoints event{id, {}, "older"};
    for (const domain::Checkpoint& checkpoint : world_.state().FindRun(id)->checkpoints) {
      if (rng_.Below(2) == 0) event.checkpoints.push_back({checkpoint.attempt, checkpoint.step});
    }
    Note(world_.Do(event));
    // What a run goes on from is there.
    for (const auto& [other, live] : world_.state().runs) {
      if (domain::IsFinal(live->state) || live->fork.path.empty()) continue;
      const Run* from = world_.state().FindRun(live->rescue_of);
      for (const RetiredCheckpoint& gone : from->retired) EXPECT_NE(gone.checkpoint, live->fork) << other.value();
    }
  }

  // Rare, and with a store that lacks a part of the samples.
  void Restored() {
    if (rng_.Below(20) != 0) return;
    domain::StoreRestored event{static_cast<AttemptNumber>(rng_.Below(9)), {}, "restored"};
    for (const auto& [id, run] : world_.state().runs) {
      if (rng_.Below(2) == 0) event.samples.push_back({id, static_cast<std::int64_t>(rng_.Below(100))});
    }
    Note(world_.Do(event));
  }

  void Judged() {
    const auto& awaiting = world_.state().awaiting_judgement;
    RunId run = AnyRun();
    if (!awaiting.empty() && rng_.Below(4) != 0) run = awaiting.begin()->first;
    const Run* found = world_.state().FindRun(run);
    Note(world_.Do(domain::RunJudged{{run, found == nullptr ? 1 : found->attempt}, static_cast<std::int64_t>(rng_.Below(140))}));
  }

  void Started() {
    const auto [worker, key] = AnyAttempt();
    Note(world_.Do(domain::AttemptStarted{worker, ++report_, key}));
  }

  void Checkpoint() {
    const auto [worker, key] = AnyAttempt();
    const auto step = static_cast<std::int64_t>(rng_.Below(100));
    Note(world_.Do(domain::CheckpointPublished{worker, ++report_, key, {key.attempt, step, StrCat("step-", step), 1, "h", static_cast<std::int64_t>(rng_.Below(100))}}));
  }

  void Ended() {
    const domain::EndCause causes[] = {domain::EndCause::kCompleted, domain::EndCause::kStopped, domain::EndCause::kNonFinite,
                                       domain::EndCause::kUserError, domain::EndCause::kOutOfMemory, domain::EndCause::kStorage,
                                       domain::EndCause::kLaunch, domain::EndCause::kCrashed, domain::EndCause::kMachineLost,
                                       domain::EndCause::kFenced};
    const auto [worker, key] = AnyAttempt();
    domain::AttemptEnd end;
    end.cause = causes[rng_.Below(10)];
    end.last_step = static_cast<std::int64_t>(rng_.Below(101));
    Note(world_.Do(domain::AttemptEnded{worker, ++report_, key, end}));
  }

  Rng rng_;
  World world_;
  std::uint64_t report_ = 0;
  std::map<AttemptKey, domain::Gang> launched_;
  std::set<std::string> seen_;
};

TEST(RandomEventsTest, KeepEveryInvariantAndEveryRunEnds) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    RandomEvents events(seed);
    for (int i = 0; i < 400 && events.world().broken().empty(); ++i) events.Step();
    const bool ended = events.world().broken().empty() && events.world().DriveToEnd();
    events.world().Restart();
    ASSERT_TRUE(events.world().broken().empty()) << "seed " << seed << ": " << events.world().broken().front();
    ASSERT_TRUE(ended) << "seed " << seed << ": not every run ended";
    seen.insert(events.seen().begin(), events.seen().end());
  }
  EXPECT_EQ(seen, (std::set<std::string>{"cancelled", "failed", "halted", "paused", "pruned", "queued", "running", "starting", "stopping", "succeeded"}));
}

State Replayed(const std::vector<domain::Fact>& facts, const CoreConfig& config) {
  State state(config);
  for (const domain::Fact& fact : facts) Apply(&state, fact);
  return state;
}

// The derived parts too: the same machines and runs are chosen, the same leases run out.
void ExpectSame(const State& a, const State& b) {
  EXPECT_TRUE(SameStored(a, b));
  EXPECT_EQ(a.at_ms, b.at_ms);
  EXPECT_EQ(a.wall_ms, b.wall_ms);
  EXPECT_TRUE(BrokenInvariants(b).empty());
  EXPECT_TRUE(std::equal(a.leases.begin(), a.leases.end(), b.leases.begin(), b.leases.end(),
                         [](const auto& x, const auto& y) { return x.first == y.first; }));
  for (const auto& [id, run] : a.runs) {
    const auto request = [&](const State& state) {
      for (const auto& [queue_class, waiting] : state.index.queue.classes()) {
        for (const auto& [rank, found] : waiting) {
          if (found->run == id) return StrCat(found->preferred_device, "/", found->priority, "/", found->number);
        }
      }
      return std::string();
    };
    EXPECT_EQ(request(a), request(b)) << id.value();
  }
}

TEST(RandomEventsTest, CompactedFactsGiveTheSameState) {
  std::size_t before = 0;
  std::size_t after = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(StrCat("seed ", seed));
    RandomEvents events(seed);
    const CoreConfig& config = events.world().state().config;
    std::vector<domain::Fact> snapshot;
    std::size_t stands_for = 0;
    for (int i = 0; i < 400; ++i) {
      events.Step();
      if (i % 50 != 49) continue;
      // As the server does it: the last snapshot's facts and those since.
      const std::vector<domain::Fact>& journal = events.world().journal();
      snapshot.insert(snapshot.end(), journal.begin() + static_cast<std::ptrdiff_t>(stands_for), journal.end());
      stands_for = journal.size();
      const std::size_t length = snapshot.size();
      snapshot = CompactFacts(std::move(snapshot), config);
      EXPECT_LE(snapshot.size(), length);
      EXPECT_EQ(CompactFacts(snapshot, config).size(), snapshot.size());
      ExpectSame(Replayed(journal, config), Replayed(snapshot, config));
    }
    ASSERT_TRUE(events.world().broken().empty()) << events.world().broken().front();
    // Made in steps it may hold less: a run that waits now and was running at an earlier snapshot had older checkpoints left out there.
    EXPECT_GE(CompactFacts(events.world().journal(), config).size(), snapshot.size());
    before += stands_for;
    after += snapshot.size();
    if (testing::Test::HasFailure()) break;
  }
  // With the short bounds of these tests a good part goes.
  EXPECT_LT(after * 10, before * 9) << after << " of " << before;
  RecordProperty("compacted", StrCat(after, " of ", before));
}

TEST(RandomEventsTest, TheSameSeedGivesTheSameJournal) {
  RandomEvents a(7);
  RandomEvents b(7);
  for (int i = 0; i < 300; ++i) {
    a.Step();
    b.Step();
  }
  EXPECT_TRUE(SameStored(a.world().state(), b.world().state()));
  EXPECT_EQ(a.world().journal().size(), b.world().journal().size());
}

}  // namespace
}  // namespace entrain::core
