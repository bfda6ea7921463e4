// The power fails during every single change that a scripted sweep makes on the disk; each time promises 1 to 4 of docs/ARCHITECTURE.md
// must hold, and the sweep must come to its end.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/strings.h"
#include "coordinator/core/compact.h"
#include "coordinator/samples/run_judge.h"
#include "coordinator/server/core_loop.h"
#include "coordinator/store/history.h"
#include "power_loss_disk.h"

namespace entrain::server {
namespace {

constexpr char kPath[] = "/disk/coordinator.db";
constexpr std::int64_t kStepsOfRun = 12;
constexpr std::int64_t kRoundMs = 400;
constexpr int kMostRounds = 400;
constexpr std::int64_t kContext = 16;
const WorkerId kMachine("w1");

domain::SweepSpec SweepOf(const std::string& name, int runs) {
  domain::SweepSpec sweep;
  sweep.name = name;
  sweep.owner = "ada";
  for (int i = 0; i < runs; ++i) {
    domain::RunSpec run;
    run.cell = CellId(StrCat("cell-", name, "-", i));
    run.label = StrCat(name, i);
    run.config_json = std::string(1500, 'x');
    run.steps = kStepsOfRun;
    run.n_layer = run.n_head = 1;
    run.context = kContext;
    sweep.runs.push_back(std::move(run));
  }
  return sweep;
}

// What a machine remembers while the coordinator is away: gangs that train and reports that were not acknowledged.
struct Machine {
  struct Gang {
    std::int64_t step = 0;
    bool ended = false;
  };
  std::uint64_t incarnation = 0;
  std::uint64_t reports = 0;
  std::map<domain::AttemptKey, Gang> gangs;
  std::map<std::uint64_t, EventBody> unacknowledged;
  std::map<domain::AttemptKey, domain::Gang> launched;  // every launch that ever left

  template <typename Report>
  void Tell(Report report) {
    report.worker = kMachine;
    report.report = ++reports;
    unacknowledged[report.report] = std::move(report);
  }
};

// The coordinator with its people and its machine, and an account of what they were promised.
class World {
 public:
  explicit World(PowerLossDisk* disk) : disk_(disk) {}

  // To the end of both sweeps, over at most one power loss.
  void Run() {
    for (round_ = 1; round_ <= kMostRounds && !Over() && !::testing::Test::HasFailure(); ++round_) {
      if (loop_ == nullptr && !Start()) {
        ASSERT_TRUE(disk_->failed()) << "the coordinator does not start";
        PowerLoss();
        continue;
      }
      if (!Live()) {
        ASSERT_TRUE(disk_->failed()) << "round " << round_;
        PowerLoss();
      }
    }
    ASSERT_TRUE(Over()) << "the sweeps did not end";
    CheckEnd();
    changes_ = disk_->changes();
    Stop();
    CheckJournal();
  }
  // Until everything had ended.
  std::int64_t changes() const { return changes_; }

 private:
  bool Start() {
    auto opened = store::OpenSqliteStore(kPath);
    if (!opened.ok()) return false;
    store_ = *std::move(opened);
    // Snapshots are written by the script: the loop's own come from a thread, whose timing would move the changes.
    loop_ = std::make_unique<CoreLoop>(store_.get(), core::CoreConfig{}, &clock_, &published_, nullptr, std::numeric_limits<std::int64_t>::max());
    const absl::Status recovered = loop_->Recover();
    if (!recovered.ok()) {
      EXPECT_TRUE(disk_->failed()) << recovered;
      Stop();
      return false;
    }
    CheckPromises();
    std::vector<domain::Effect> effects;
    loop_->SendRecoveryEffects([&](const domain::Effect& effect) { effects.push_back(effect); });
    ++machine_.incarnation;
    domain::WorkerJoined joined{{.id = kMachine, .name = "host", .version = "1", .slots = 2, .device = "cpu"}, machine_.incarnation, {}};
    for (const auto& [key, gang] : machine_.gangs) joined.live_attempts.push_back(key);
    waiting_.emplace_back(joined);
    for (const auto& [number, report] : machine_.unacknowledged) waiting_.push_back(report);
    return Act(effects);
  }
  void Stop() {
    judges_.clear();
    loop_.reset();
    store_.reset();
    waiting_.clear();
  }
  void PowerLoss() {
    Stop();
    disk_->PowerOn();
    clock_.Advance(2'000);
  }

  // One round of everybody; false when the coordinator died.
  bool Live() {
    clock_.Advance(kRoundMs);
    People();
    waiting_.emplace_back(domain::WorkerHeartbeat{kMachine, false});
    if (!Decide() || !Train() || !Decide()) return false;
    if (round_ % 9 == 0 && !WriteSnapshot()) return false;
    if (round_ == 14) Stop();  // a clean end, which empties the log into the database
    return true;
  }
  void People() {
    if (!answered_.contains("a")) waiting_.emplace_back(Submit("a", 3));
    if (round_ > 5 && !answered_.contains("b")) waiting_.emplace_back(Submit("b", 2));
    // A late word of an attempt that was replaced.
    const auto retried = std::find_if(machine_.launched.begin(), machine_.launched.end(), [](const auto& entry) { return entry.first.attempt > 1; });
    if (retried == machine_.launched.end() || round_ % 3 != 0) return;
    const domain::AttemptKey old{retried->first.run, 1};
    waiting_.emplace_back(domain::CheckpointPublished{kMachine, 900'000, old, {1, kStepsOfRun, "stale", 1, "h"}});
    waiting_.emplace_back(domain::AttemptEnded{kMachine, 900'001, old, {domain::EndCause::kCompleted, kStepsOfRun, "", 0}});
  }
  domain::SubmitSweep Submit(const std::string& key, int runs) {
    domain::SubmitSweep submit;
    submit.request = ++requests_;
    submit.proposed_id = SweepId(StrCat("s", key, requests_));
    submit.idempotency_key = key;
    submit.spec = SweepOf(key, runs);
    asked_[submit.request] = key;
    return submit;
  }

  bool Decide() {
    while (!waiting_.empty()) {
      std::vector<EventBody> bodies;
      bodies.swap(waiting_);
      std::vector<domain::Effect> effects;
      if (!loop_->Step(std::move(bodies), [&](const domain::Effect& effect) { effects.push_back(effect); }).ok()) {
        EXPECT_TRUE(effects.empty()) << "something left although the commit failed";
        return false;
      }
      for (const auto& [id, run] : published_.Get()->runs) {
        if (domain::IsFinal(run->state)) final_.try_emplace(id, run->state);
      }
      if (!Act(effects)) return false;
    }
    return true;
  }

  bool Act(const std::vector<domain::Effect>& effects) {
    for (const domain::Effect& effect : effects) {
      if (const auto* launch = std::get_if<domain::LaunchAttempt>(&effect)) {
        const auto [known, fresh] = machine_.launched.try_emplace(launch->key, launch->gang);
        EXPECT_TRUE(fresh || known->second == launch->gang) << launch->key.ToString() << " was launched a second time elsewhere";
        if (!fresh) continue;
        machine_.gangs[launch->key] = {launch->resume_from.step, false};
        machine_.Tell(domain::AttemptStarted{{}, 0, launch->key});
      } else if (const auto* forget = std::get_if<domain::ForgetAttempt>(&effect)) {
        machine_.gangs.erase(forget->key);
      } else if (const auto* acknowledged = std::get_if<domain::AcknowledgeReport>(&effect)) {
        machine_.unacknowledged.erase(acknowledged->report);
      } else if (const auto* reply = std::get_if<domain::Reply>(&effect)) {
        EXPECT_TRUE(reply->status.ok()) << reply->status;
        const std::string& key = asked_[reply->request];
        EXPECT_TRUE(!answered_.contains(key) || answered_[key] == reply->id) << "two sweeps for one key";
        answered_[key] = reply->id;
      } else if (!Judge(effect)) {
        return false;
      }
    }
    return true;
  }
  bool Judge(const domain::Effect& effect) {
    if (const auto* begin = std::get_if<domain::BeginAttempt>(&effect)) {
      return store_->BeginAttempt(begin->key.run, begin->key.attempt, begin->resume_step).ok() &&
             JudgeOf(begin->key.run)->Begin(begin->key.attempt, begin->resume_step, &waiting_).ok();
    }
    if (const auto* through = std::get_if<domain::JudgeThrough>(&effect)) {
      JudgeOf(through->key.run)->JudgeThrough(through->key.attempt, through->last_step, &waiting_);
    }
    return true;
  }
  samples::RunJudge* JudgeOf(const RunId& run) {
    auto& judge = judges_[run];
    if (judge == nullptr) judge = std::make_unique<samples::RunJudge>(run, published_.Get()->FindRun(run)->spec, store_.get());
    return judge.get();
  }

  // Every gang one step further; false when the store failed.
  bool Train() {
    for (auto& [key, gang] : machine_.gangs) {
      const samples::PublishedState::View state = published_.Get();
      const core::Run* run = state->FindRun(key.run);
      if (gang.ended || run == nullptr || run->attempt != key.attempt) continue;
      store::StoredSample sample;
      sample.attempt = key.attempt;
      sample.sample.step = gang.step + 1;
      sample.sample.entropy_nats = {1.5F};
      if (!store_->AppendSamples(key.run, kContext, {sample}, {}).ok()) return false;
      sample.sample.entropy_nats = store::AsStored(sample.sample.entropy_nats, kContext);
      ++gang.step;
      stored_[key] = std::max(stored_[key], gang.step);
      if (!JudgeOf(key.run)->Feed(key.attempt, {sample.sample}, {}, &waiting_).ok()) return false;
      if (gang.step % 4 == 0) {
        machine_.Tell(domain::CheckpointPublished{{}, 0, key, {key.attempt, gang.step, StrCat(key.ToString(), "/", gang.step), 10, "h"}});
        waiting_.push_back(machine_.unacknowledged.rbegin()->second);
      }
      // The second run of a sweep dies once.
      const bool dies = key.attempt == 1 && gang.step == 7 && run->index == 1;
      if (!dies && gang.step < kStepsOfRun) continue;
      gang.ended = true;
      machine_.Tell(domain::AttemptEnded{{}, 0, key, {dies ? domain::EndCause::kCrashed : domain::EndCause::kCompleted, gang.step, "", dies ? 1 : 0}});
      waiting_.push_back(machine_.unacknowledged.rbegin()->second);
    }
    for (const auto& [number, report] : machine_.unacknowledged) {
      if (std::holds_alternative<domain::AttemptStarted>(report)) waiting_.push_back(report);
    }
    return true;
  }
  bool WriteSnapshot() {
    std::vector<domain::Fact> facts;
    if (!store_->Replay([&](const domain::Fact& fact) { facts.push_back(fact); }).ok()) return false;
    return store_->WriteSnapshot(core::CompactFacts(std::move(facts), core::CoreConfig{})).ok();
  }

  // What must be there after a restart.
  void CheckPromises() {
    const samples::PublishedState::View state = published_.Get();
    for (const std::string& broken : core::BrokenInvariants(*state)) ADD_FAILURE() << broken;
    for (const auto& [key, id] : answered_) {
      ASSERT_NE(state->sweeps.Find(SweepId(id)), nullptr) << "promise 1: the acknowledged sweep " << id << " is lost";
    }
    for (const auto& [run, state_before] : final_) {
      ASSERT_NE(state->FindRun(run), nullptr);
      EXPECT_EQ(state->FindRun(run)->state, state_before) << "promise 2: a final state changed";
    }
    for (const auto& [key, gang] : machine_.launched) {
      const core::Run* run = state->FindRun(key.run);
      ASSERT_NE(run, nullptr) << "promise 3: " << key.ToString() << " was launched and is not known";
      EXPECT_GE(run->attempt, key.attempt) << "promise 3: the number of " << key.ToString() << " may be given again";
    }
    for (const auto& [key, step] : stored_) {
      const auto last = store_->ReadLastSample(key.run, kContext, kStepsOfRun);
      if (state->FindRun(key.run)->attempt != key.attempt) continue;
      ASSERT_TRUE(last.ok() && last->has_value()) << "promise 4: acknowledged samples are lost";
      EXPECT_GE((*last)->sample.step, step) << "promise 4: acknowledged samples of " << key.ToString() << " are lost";
    }
  }
  bool Over() const {
    if (loop_ == nullptr || answered_.size() < 2 || !machine_.unacknowledged.empty()) return false;
    const samples::PublishedState::View state = published_.Get();
    return std::all_of(state->runs.begin(), state->runs.end(), [](const auto& entry) { return domain::IsFinal(entry.second->state); });
  }
  void CheckEnd() {
    const samples::PublishedState::View state = published_.Get();
    EXPECT_EQ(state->sweeps.size(), 2U);
    EXPECT_EQ(state->runs.size(), 5U);
    for (const auto& [id, run] : state->runs) {
      EXPECT_EQ(run->state, domain::RunState::kSucceeded) << id.value() << ": " << run->reason;
      // One more where the power failed between a launch's commit and its leaving.
      const AttemptNumber least = run->index == 1 ? 2 : 1;
      EXPECT_GE(run->attempt, least) << id.value();
      EXPECT_LE(run->attempt, least + 1) << id.value();
      for (const domain::Checkpoint& checkpoint : run->checkpoints) EXPECT_NE(checkpoint.path, "stale") << "promise 3";
      const auto samples = store_->ReadSamples(id, kContext, 0, 1'000);
      ASSERT_TRUE(samples.ok()) << samples.status();
      ASSERT_EQ(samples->size(), static_cast<std::size_t>(kStepsOfRun)) << "promise 4: " << id.value();
      for (std::size_t i = 0; i < samples->size(); ++i) EXPECT_EQ((*samples)[i].sample.step, static_cast<std::int64_t>(i) + 1);
    }
  }
  // Every fact ever committed.
  void CheckJournal() {
    const auto history = store::ReadHistory(kPath);
    ASSERT_TRUE(history.ok()) << history.status();
    std::map<RunId, int> finished;
    for (const domain::Fact& fact : history->facts) {
      if (const auto* end = std::get_if<domain::RunFinished>(&fact.body)) ++finished[end->run];
    }
    EXPECT_EQ(finished.size(), 5U);
    for (const auto& [run, times] : finished) EXPECT_EQ(times, 1) << "promise 2: " << run.value();
  }

  PowerLossDisk* const disk_;
  ManualClock clock_;
  samples::PublishedState published_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<CoreLoop> loop_;
  std::map<RunId, std::unique_ptr<samples::RunJudge>> judges_;
  std::vector<EventBody> waiting_;
  Machine machine_;
  int round_ = 0;
  std::int64_t changes_ = 0;
  domain::RequestId requests_ = 0;
  std::map<domain::RequestId, std::string> asked_;
  std::map<std::string, std::string> answered_;  // idempotency key -> sweep
  std::map<RunId, domain::RunState> final_;
  std::map<domain::AttemptKey, std::int64_t> stored_;  // the last step that was acknowledged
};

class PowerLossTest : public ::testing::TestWithParam<Survivors> {};

TEST_P(PowerLossTest, EveryChangeOfAScriptedSweepMayBeTheLast) {
  std::int64_t changes = 0;
  std::int64_t syncs = 0;
  {
    PowerLossDisk disk;
    World world(&disk);
    world.Run();
    changes = world.changes();
    syncs = disk.syncs();
  }
  ASSERT_FALSE(HasFailure()) << "without any power loss";
  EXPECT_GT(changes, 300);
  for (std::int64_t change = 1; change <= changes; ++change) {
    PowerLossDisk disk;
    disk.FailAt(change, GetParam());
    World(&disk).Run();
    ASSERT_FALSE(HasFailure()) << "power lost during change " << change << " of " << changes;
  }
  std::printf("%lld crash points (%lld of them syncs)\n", static_cast<long long>(changes), static_cast<long long>(syncs));
}

std::string NameOf(const ::testing::TestParamInfo<Survivors>& survivors) {
  static const char* const names[] = {"NoneAndTorn", "AllAndTorn", "SomeAndTorn", "None"};
  return names[static_cast<int>(survivors.param)];
}

INSTANTIATE_TEST_SUITE_P(Disks, PowerLossTest,
                         ::testing::Values(Survivors::kNoneAndTorn, Survivors::kAllAndTorn, Survivors::kSomeAndTorn, Survivors::kNone), NameOf);

}  // namespace
}  // namespace entrain::server
