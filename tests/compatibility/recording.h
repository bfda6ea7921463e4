// The real programs of this build, playing a scenario that uses every service, with a tap in between.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "entrain/v1/sweep_service.grpc.pb.h"
#include "tests/compatibility/release_fixture.h"
#include "tests/compatibility/tap.h"
#include "tests/integration/process.h"

namespace entrain::compatibility {

// What the fixtures of a release are made from. Fails the test where a step of the scenario fails.
class Recording {
 public:
  // In a folder whose name says nothing of this machine. `store`: an address of PostgreSQL; empty: SQLite.
  explicit Recording(const std::string& store = "");
  ~Recording();

  // Every process has ended when it returns.
  void Play();
  // Without calls that found no server.
  std::vector<Record> Records() const;
  const std::vector<Command>& commands() const { return commands_; }
  const std::string& dir() const { return dir_; }
  // In dir(): the store's files when the coordinator had ended in the middle of it all.
  std::string store_at_restart() const { return dir_ + "/at-restart"; }
  // In dir(): the first worker's folder as its killed daemon left it.
  std::string left_behind() const { return dir_ + "/left-behind"; }

 private:
  void StartCoordinator();
  testing::Process StartWorker(const std::string& name, const std::vector<std::string>& more = {});
  void EndWorker(testing::Process* worker);
  // The command line, through the tap; false when it ends with another exit code.
  bool Do(std::vector<std::string> arguments, int exit_code = 0);
  // Asked past the tap: what is polled is no part of the recording.
  v1::RunSummary Ask(const std::string& run);
  bool Await(const std::string& run, const std::function<bool(const v1::RunSummary&)>& condition);
  bool AwaitState(const std::string& run, const std::string& state);
  bool AwaitMore(const std::string& run);

  void SubmitBeforeAnyWorker();
  void LookAtEverything();
  void LookAtSweep(const std::string& sweep);
  void StopAndGoOn();
  void UpgradeOneAfterTheOther();
  void TrainWithNothingShared();
  void TidyUp();

  const std::string dir_;
  const std::string store_;
  const std::string address_;
  Tap tap_;
  std::unique_ptr<v1::SweepService::Stub> stub_;
  std::vector<Command> commands_;
  testing::Process coordinator_;
  testing::Process first_;
  testing::Process second_;
};

}  // namespace entrain::compatibility
