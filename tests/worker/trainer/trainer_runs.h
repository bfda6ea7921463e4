// Real trainer processes on real text, for tests.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "domain/run_config.h"
#include "worker/attempt/attempt_folder.h"

namespace entrain::trainer {

// A process group of its own with its output in a file.
class Process {
 public:
  Process(const std::vector<std::string>& arguments, std::string log_path);
  // Kills what is left.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void Signal(int signal_number) const;
  // The exit code, or 128 + the signal; -1 when it did not end within two minutes.
  int Wait();
  bool Ended();
  std::string Log() const;

 private:
  std::string log_path_;
  pid_t pid_;
  int status_ = -1;
  bool reaped_ = false;
};

// Polls until the condition holds; false after two minutes.
bool WaitUntil(const std::function<bool()>& condition);

// The sources of this project as bytes, prepared once a process.
struct Dataset {
  std::string dir;
  domain::DatasetRef ref;
};
const Dataset& SharedDataset();

// A small model with everything that has state: spectral norm, temperature, regulariser, scaled FFN.
domain::RunConfig SmallConfig(std::int64_t steps, std::int64_t world_size);

// An attempt folder made as a worker makes it, and its gang.
class Gang {
 public:
  Gang(const std::string& root, const domain::RunConfig& config, const std::string& resume_dir);
  // Changes the spec before Start.
  attempt::AttemptSpec& spec() { return spec_; }
  void Start();
  Process& process() { return *process_; }
  const attempt::AttemptFolder& folder() const { return folder_; }

  std::vector<attempt::AttemptEvent> Events() const;
  std::int64_t LastStep() const;
  // The newest checkpoint that an event names, absolute; empty: none.
  std::string NewestCheckpoint() const;
  attempt::TerminalRecord Record(std::int64_t rank) const;

 private:
  attempt::AttemptFolder folder_;
  attempt::AttemptSpec spec_;
  domain::RunConfig config_;
  std::unique_ptr<Process> process_;
};

}  // namespace entrain::trainer
