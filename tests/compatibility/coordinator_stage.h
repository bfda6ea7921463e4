// A coordinator of this build in this process that gives out the ids of a recording, so that what was said to another is understood by it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "coordinator/server/coordinator.h"
#include "tests/compatibility/replayer.h"

namespace entrain::compatibility {

class RecordedIds : public IdSource {
 public:
  // Those of the recorded answers to submits, in their order.
  explicit RecordedIds(const std::vector<Record>& records);
  std::string Next(int length) override;

 private:
  std::deque<std::string> sweeps_;
  SeededIdSource others_{1};
};

class CoordinatorStage {
 public:
  CoordinatorStage(const server::Options& options, const std::vector<Record>& records) : options_(options), ids_(records) {}
  // Also again, over the same data.
  absl::Status Start();
  void Stop() { coordinator_.reset(); }
  const std::string& address() const { return coordinator_->address(); }

 private:
  const server::Options options_;
  SystemClock clock_;
  RecordedIds ids_;
  std::unique_ptr<server::Coordinator> coordinator_;
};

// Flags that the recording's coordinator had.
server::Options RecordedOptions(const std::string& data_dir);

// Starts the stage's coordinator and says `records` to it, which may be a whole conversation or its LastLooks.
Outcome ReplayAgainst(CoordinatorStage* stage, const std::vector<Record>& records, const std::set<std::string>& schema);

}  // namespace entrain::compatibility
