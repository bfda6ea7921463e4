// The coordinators of every released version, as far as their words were recorded, and this build's worker, supervisor and trainer: they do what
// the released ones did. And the folder that a released worker left, taken over by this build's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/files.h"
#include "base/strings.h"
#include "tests/compatibility/playback.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/integration/process.h"
#include "tests/worker/agent/fake_coordinator.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;
using agent::FakeCoordinator;
using agent::Heard;
using testing::Eventually;
using testing::Process;

constexpr int kPatienceMs = 60'000;
constexpr char kControl[] = "/entrain.v1.FleetService/Control";
constexpr int kIncarnationsOfOneStart = 32;  // bits

// One message of one worker's control streams, or what else befell it since its first.
struct Scene {
  What what = What::kHeard;
  v1::WorkerMessage heard;
  v1::CoordinatorMessage said;
};

std::vector<Scene> ScenesOf(const std::vector<Record>& records, const std::string& worker_name) {
  std::map<int, std::string> methods;
  std::map<int, bool> ours;
  std::vector<Scene> scenes;
  for (const Record& record : records) {
    Scene scene{.what = record.what, .heard = {}, .said = {}};
    if (record.what == What::kOpened) methods[record.call] = record.bytes;
    const bool whole = record.what == What::kRestarted;
    if (!whole && methods[record.call] != kControl) continue;
    if (record.what == What::kHeard) {
      EXPECT_TRUE(scene.heard.ParseFromString(record.bytes));
      if (scene.heard.has_hello()) ours[record.call] = scene.heard.hello().name() == worker_name;
    }
    if (record.what == What::kSaid) {
      EXPECT_TRUE(scene.said.ParseFromString(record.bytes));
    }
    if ((whole && !scenes.empty()) || (!whole && ours[record.call])) scenes.push_back(std::move(scene));
  }
  return scenes;
}

std::pair<std::string, std::uint32_t> KeyOf(const v1::AttemptKey& key) { return {key.run_id(), key.attempt()}; }

// The first message of its kind in a stream of answers.
template <typename Message>
Message FirstSaid(const std::vector<Record>& records, const std::string& method) {
  std::map<int, std::string> methods;
  Message message;
  for (const Record& record : records) {
    if (record.what == What::kOpened) methods[record.call] = record.bytes;
    if (record.what != What::kSaid || methods[record.call] != method) continue;
    EXPECT_TRUE(message.ParseFromString(record.bytes));
    return message;
  }
  return message;
}

agent::CoordinatorWords WordsOf(const std::vector<Record>& records, const std::vector<Scene>& scenes) {
  agent::CoordinatorWords words;
  for (const Scene& scene : scenes) {
    if (scene.said.has_welcome()) words.welcome = scene.said;
    if (scene.said.has_lease()) words.lease = scene.said;
    if (scene.said.has_acknowledged()) words.acknowledged = scene.said;
  }
  words.sample_ack = FirstSaid<v1::SampleAck>(records, "/entrain.v1.FleetService/Samples");
  words.log_ack = FirstSaid<v1::LogAck>(records, "/entrain.v1.FleetService/Logs");
  return words;
}

class EveryCoordinator : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    fixture_ = ReadRelease(GetParam());
    root_ = StrCat(fs::path(::testing::TempDir()).lexically_normal().string(), "/worker-", GetParam(), "-", ::getpid());
    fs::remove_all(root_);
    UnpackFolders(fixture_, root_ + "/kept");
    ASSERT_TRUE(MakeFolders(root_ + "/artifacts/checkpoints").ok());
    fs::copy(root_ + "/kept/artifacts/datasets", root_ + "/artifacts/datasets", fs::copy_options::recursive);
  }
  void TearDown() override {
    worker_.KillNow();
    for (const pid_t pid : testing::FindProcesses({root_ + "/", "/attempts/"})) ::kill(pid, SIGKILL);
    if (!HasFailure()) fs::remove_all(root_);
  }
  void StartWorker(const FakeCoordinator& coordinator, const std::string& dir, bool shares_root) {
    std::vector<std::string> command = {StrCat(ENTRAIN_BIN_DIR, "/entrain-worker"), "--coordinator", coordinator.address(), "--dir", dir, "--slots", "2", "--slot-kind",
                                        "cpu", "--name", "w"};
    if (shares_root) command.insert(command.end(), {"--artifacts", root_ + "/artifacts"});
    worker_ = Process::Start(command, root_ + "/worker.log");
    running_ = true;
  }
  std::string Log() const { return ReadFile(root_ + "/worker.log").value_or("(no log)"); }

  // --- A recorded coordinator, scene by scene ---
  void Play(FakeCoordinator* coordinator, const std::vector<Scene>& scenes, bool shares_root) {
    coordinator->set_words(WordsOf(fixture_.conversation, scenes));
    for (std::size_t i = 0; i < scenes.size() && !HasFailure(); ++i) {
      SCOPED_TRACE(StrCat("scene ", i + 1, ": ", scenes[i].heard.ShortDebugString(), scenes[i].said.ShortDebugString().substr(0, 200)));
      Play(coordinator, scenes, i, shares_root);
    }
  }
  void Play(FakeCoordinator* coordinator, const std::vector<Scene>& scenes, std::size_t i, bool shares_root) {
    const Scene& scene = scenes[i];
    if (scene.what == What::kRestarted) {
      coordinator->Stop();
      return coordinator->Start();
    }
    if (scene.what == What::kLeft) return EndWorker(scenes, i);
    if (scene.what == What::kSaid) return Say(coordinator, scene.said);
    if (scene.what != What::kHeard) return;
    if (scene.heard.has_hello()) return ExpectHello(coordinator, scene.heard.hello(), shares_root);
    if (scene.heard.has_heartbeat()) return Drain(coordinator, scene.heard.heartbeat());
    ExpectReport(coordinator, scenes, scene.heard);
  }

  void ExpectHello(FakeCoordinator* coordinator, const v1::Hello& recorded, bool shares_root) {
    draining_ = false;
    if (!running_) {
      const std::string dir = root_ + "/worker";
      ASSERT_TRUE(MakeFolders(dir).ok());
      ASSERT_TRUE(WriteFileAtomically(dir + "/worker-id", recorded.worker_id() + "\n").ok());
      StartWorker(*coordinator, dir, shares_root);
    }
    ASSERT_TRUE(Eventually([&] { return coordinator->heard().hellos.size() > hellos_; }, kPatienceMs)) << Log();
    const v1::Hello hello = coordinator->heard().hellos.back();
    hellos_ = coordinator->heard().hellos.size();
    EXPECT_EQ(hello.worker_id(), recorded.worker_id());
    EXPECT_EQ(hello.slots(), recorded.slots());
    EXPECT_EQ(hello.slot_kind(), recorded.slot_kind());
    EXPECT_EQ(hello.incarnation() >> kIncarnationsOfOneStart, recorded.incarnation() >> kIncarnationsOfOneStart);
    ASSERT_EQ(hello.live_attempts_size(), recorded.live_attempts_size());
    for (int k = 0; k < hello.live_attempts_size(); ++k) EXPECT_EQ(KeyOf(hello.live_attempts(k)), KeyOf(recorded.live_attempts(k)));
    // What is said next is for this connection: its welcome was the first.
    ASSERT_TRUE(Eventually([&] { return coordinator->heard().heartbeats > heartbeats_; }, kPatienceMs)) << Log();
    heartbeats_ = coordinator->heard().heartbeats;
  }

  void Say(FakeCoordinator* coordinator, const v1::CoordinatorMessage& said) {
    // The others answer what this worker says, when it says it.
    if (!said.has_launch() && !said.has_stop() && !said.has_forget()) return;
    const std::string& resume = said.launch().resume_from().path();
    if (!resume.empty()) {
      // Not the one that this build's trainer may have written there.
      fs::remove_all(root_ + "/artifacts/" + resume);
      fs::create_directories(fs::path(root_ + "/artifacts/" + resume).parent_path());
      fs::copy(root_ + "/kept/artifacts/" + resume, root_ + "/artifacts/" + resume, fs::copy_options::recursive);
    }
    coordinator->Say(said);
  }

  void Drain(FakeCoordinator* coordinator, const v1::Heartbeat& heartbeat) {
    if (!heartbeat.draining() || draining_) return;
    worker_.Signal(SIGTERM);
    draining_ = true;
    EXPECT_TRUE(Eventually([&] { return coordinator->heard().draining; }, kPatienceMs)) << Log();
  }

  void EndWorker(const std::vector<Scene>& scenes, std::size_t i) {
    if (draining_) {
      EXPECT_EQ(worker_.Wait(kPatienceMs), 0) << Log();
    } else {
      // Cut by the coordinator's end, not by the worker's: the next hello is of the same start.
      std::uint64_t before = 0;
      for (std::size_t k = 0; k < scenes.size(); ++k) {
        if (!scenes[k].heard.has_hello()) continue;
        if (k < i) before = scenes[k].heard.hello().incarnation() >> kIncarnationsOfOneStart;
        if (k > i && scenes[k].heard.hello().incarnation() >> kIncarnationsOfOneStart == before) return;
        if (k > i) break;
      }
      worker_.KillNow();
    }
    running_ = false;
  }

  // Whether a stop was to cut the attempt short: where it did is a matter of speed.
  static bool WasStopped(const std::vector<Scene>& scenes, const v1::AttemptKey& key) {
    for (const Scene& scene : scenes) {
      if (scene.heard.has_ended() && KeyOf(scene.heard.ended().key()) == KeyOf(key)) return scene.heard.ended().cause() == "stopped";
    }
    return true;
  }
  static bool SameReport(const v1::WorkerMessage& recorded, const v1::WorkerMessage& today, bool stopped) {
    if (recorded.body_case() != today.body_case()) return false;
    if (recorded.has_started()) return KeyOf(recorded.started().key()) == KeyOf(today.started().key());
    if (recorded.has_checkpoint()) {
      return KeyOf(recorded.checkpoint().key()) == KeyOf(today.checkpoint().key()) &&
             (stopped || recorded.checkpoint().checkpoint().path() == today.checkpoint().checkpoint().path());
    }
    const v1::AttemptEnded& a = recorded.ended();
    const v1::AttemptEnded& b = today.ended();
    if (KeyOf(a.key()) != KeyOf(b.key())) return false;
    // A short run may be over before the stop comes.
    return stopped ? b.cause() == "stopped" || b.cause() == "completed" : a.cause() == b.cause() && a.last_step() == b.last_step() && a.tokens() == b.tokens();
  }
  void ExpectReport(FakeCoordinator* coordinator, const std::vector<Scene>& scenes, const v1::WorkerMessage& recorded) {
    const bool stopped = WasStopped(scenes, recorded.has_checkpoint() ? recorded.checkpoint().key() : recorded.ended().key());
    EXPECT_TRUE(Eventually(
        [&] {
          const Heard heard = coordinator->heard();
          return std::any_of(heard.reports.begin(), heard.reports.end(), [&](const v1::WorkerMessage& today) { return SameReport(recorded, today, stopped); });
        },
        kPatienceMs))
        << "not reported: " << recorded.ShortDebugString() << "\n" << Log();
  }

  ReleaseFixture fixture_;
  std::string root_;
  Process worker_;
  bool running_ = false;
  bool draining_ = false;
  std::size_t hellos_ = 0;
  std::int64_t heartbeats_ = 0;
};

// Losses of the steps after a resume, as recorded.
std::map<std::int64_t, double> RecordedLosses(const std::vector<Record>& records, const std::pair<std::string, std::uint32_t>& key) {
  std::map<int, std::string> methods;
  std::map<std::int64_t, double> losses;
  for (const Record& record : records) {
    if (record.what == What::kOpened) methods[record.call] = record.bytes;
    v1::SampleBatch batch;
    if (record.what != What::kHeard || methods[record.call] != "/entrain.v1.FleetService/Samples" || !batch.ParseFromString(record.bytes)) continue;
    if (KeyOf(batch.key()) != key) continue;
    for (const v1::Sample& sample : batch.samples()) losses[sample.step()] = sample.loss();
  }
  return losses;
}

TEST_P(EveryCoordinator, IsServedByThisWorker) {
  FakeCoordinator coordinator;
  const std::vector<Scene> scenes = ScenesOf(fixture_.conversation, "w1");
  ASSERT_GT(scenes.size(), 50U);
  Play(&coordinator, scenes, /*shares_root=*/true);
  // Its checkpoints carry on: the steps after them have the recorded losses, but for what another processor rounds otherwise.
  int resumed = 0;
  const Heard heard = coordinator.heard();
  for (const Scene& scene : scenes) {
    const v1::Launch& launch = scene.said.launch();
    if (launch.resume_from().path().empty()) continue;
    const auto recorded = RecordedLosses(fixture_.conversation, KeyOf(launch.key()));
    const auto today = heard.losses.find(KeyOf(launch.key()));
    ASSERT_TRUE(today != heard.losses.end());
    for (const std::int64_t step : {launch.resume_from().step() + 1, launch.resume_from().step() + 2}) {
      ASSERT_TRUE(recorded.contains(step) && today->second.contains(step)) << step;
      EXPECT_NEAR(today->second.at(step), recorded.at(step), 1e-3) << "step " << step;
    }
    ++resumed;
  }
  EXPECT_GE(resumed, 2);
}

// Dataset and checkpoints travel: the recorded answers to whoever asks for them.
TEST_P(EveryCoordinator, IsServedByAWorkerThatSharesNothing) {
  Playback files(fixture_.conversation);
  FakeCoordinator coordinator(grpc::InsecureServerCredentials(), &files);
  const std::vector<Scene> scenes = ScenesOf(fixture_.conversation, "w2");
  ASSERT_GT(scenes.size(), 5U);
  Play(&coordinator, scenes, /*shares_root=*/false);
  EXPECT_THAT(files.unknown(), ::testing::IsEmpty());
}

TEST_P(EveryCoordinator, LeavesAFolderThatThisWorkerTakesOver) {
  const std::string folder = root_ + "/kept/worker";
  const std::string id = ReadFile(folder + "/worker-id").value();
  const std::string starts = ReadFile(folder + "/starts").value();
  // daemon/delivered: OFFSET READY STEP LOG_OFFSET.
  std::uint64_t offset = 0;
  std::int64_t ready = 0, delivered_step = 0;
  std::ifstream(fs::directory_iterator(folder + "/attempts")->path() / "daemon" / "delivered") >> offset >> ready >> delivered_step;
  ASSERT_GT(delivered_step, 0);
  FakeCoordinator coordinator;
  StartWorker(coordinator, folder, /*shares_root=*/true);
  ASSERT_TRUE(Eventually([&] { return !coordinator.heard().hellos.empty(); }, kPatienceMs)) << Log();
  const v1::Hello hello = coordinator.heard().hellos.front();
  EXPECT_EQ(hello.worker_id() + "\n", id);
  EXPECT_EQ(hello.incarnation() >> kIncarnationsOfOneStart, std::stoull(starts) + 1);
  ASSERT_EQ(hello.live_attempts_size(), 1);
  // Its gang is gone, and nobody saw how.
  v1::AttemptEnded end;
  ASSERT_TRUE(Eventually(
      [&] {
        for (const v1::WorkerMessage& report : coordinator.heard().reports) {
          if (report.has_ended()) end = report.ended();
        }
        return end.report() > 0;
      },
      kPatienceMs))
      << Log();
  EXPECT_EQ(KeyOf(end.key()), KeyOf(hello.live_attempts(0)));
  EXPECT_EQ(end.cause(), "crashed") << end.message();
  // What it had not sent is sent; samples that were acknowledged are not sent again.
  const auto recorded = RecordedLosses(fixture_.conversation, KeyOf(end.key()));
  std::map<std::int64_t, double> today;
  EXPECT_TRUE(Eventually([&] { return (today = coordinator.heard().losses[KeyOf(end.key())]).contains(end.last_step()); }, kPatienceMs)) << Log();
  EXPECT_GT(today.begin()->first, delivered_step);
  for (const auto& [step, loss] : today) {
    ASSERT_TRUE(recorded.contains(step)) << step;
    EXPECT_EQ(loss, recorded.at(step)) << step;
  }
  EXPECT_TRUE(Eventually([&] { return fs::is_empty(folder + "/attempts"); }, kPatienceMs)) << Log();
}

INSTANTIATE_TEST_SUITE_P(Releases, EveryCoordinator, ::testing::ValuesIn(RecordedReleases()),
                         [](const auto& version) { return TestNameOf(version.param); });

}  // namespace
}  // namespace entrain::compatibility
