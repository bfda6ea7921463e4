#include "tests/worker/trainer/trainer_runs.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/random.h"
#include "data/prepare.h"
#include "gtest/gtest.h"
#include "sweep/run_config_json.h"

namespace entrain::trainer {

bool WaitUntil(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

Process::Process(const std::vector<std::string>& arguments, std::string log_path) : log_path_(std::move(log_path)) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::setpgid(0, 0);
  const int log = ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ::dup2(log, 1);
  ::dup2(log, 2);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

Process::~Process() {
  if (reaped_) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, &status_, 0);
}

void Process::Signal(int signal_number) const { ::kill(pid_, signal_number); }

bool Process::Ended() {
  if (!reaped_) reaped_ = ::waitpid(pid_, &status_, WNOHANG) == pid_;
  return reaped_;
}

int Process::Wait() {
  if (!WaitUntil([this] { return Ended(); })) return -1;
  return WIFSIGNALED(status_) ? 128 + WTERMSIG(status_) : WEXITSTATUS(status_);
}

std::string Process::Log() const {
  std::stringstream text;
  text << std::ifstream(log_path_).rdbuf();
  return text.str();
}

const Dataset& SharedDataset() {
  static const Dataset dataset = [] {
    data::PrepareOptions options;
    options.source = std::string(ENTRAIN_SOURCE_DIR) + "/worker";
    options.include = {"*.cc", "*.h"};
    options.max_bytes = 200'000;
    options.validation_fraction = 0.2;
    const auto prepared = data::Prepare(options, testing::TempDir() + "trainer-data-" + SystemIdSource().Next(8));
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    return Dataset{prepared->dir, prepared->ref};
  }();
  return dataset;
}

domain::RunConfig SmallConfig(std::int64_t steps, std::int64_t world_size) {
  domain::RunConfig config;
  config.dataset = SharedDataset().ref;
  config.model.vocab_size = 256;
  config.model.n_positions = 32;
  config.model.n_layer = 2;
  config.model.n_head = 2;
  config.model.n_embd = 32;
  config.model.reg = domain::Regulariser::kMean;
  config.model.reg_lambda = 0.1;
  config.model.layer.norm = domain::Norm::kNone;
  config.model.layer.bias = domain::Bias::kQk;
  config.model.layer.ffn_scale = true;
  config.model.layer.temperature = domain::Temperature::kDivide;
  config.model.layer.reparam = domain::Reparam::kSpectralNorm;
  config.model.layer.reparam_targets = {domain::LinearName::kFfnIn, domain::LinearName::kFfnOut};
  config.train.steps = steps;
  config.train.batch_size = 8;
  config.train.accumulation = 2;
  config.train.context = 32;
  config.train.lr = 3e-3;
  config.train.eval_interval_steps = 10;
  config.train.eval_batches = 2;
  config.train.checkpoint_interval_steps = 7;
  config.resources.ranks_per_machine = world_size;
  return config;
}

Gang::Gang(const std::string& root, const domain::RunConfig& config, const std::string& resume_dir)
    : folder_(root), config_(config) {
  spec_.key = {RunId("r"), 1};
  spec_.dataset_dir = SharedDataset().dir;
  spec_.resume_dir = resume_dir;
  spec_.world_size = config.resources.WorldSize();
  spec_.ranks_per_machine = spec_.world_size;
  spec_.threads_per_rank = config.resources.threads_per_rank;
  spec_.collective = spec_.world_size > 1 ? "mpi" : "single";
}

void Gang::Start() {
  const absl::Status made = folder_.Create(spec_, sweep::ToCanonicalJson(config_));
  ASSERT_TRUE(made.ok()) << made;
  std::vector<std::string> arguments;
  if (spec_.world_size > 1) {
    arguments = {ENTRAIN_MPIRUN, "--bind-to", "none", "--oversubscribe", "-np", std::to_string(spec_.world_size)};
  }
  arguments.insert(arguments.end(), {std::string(ENTRAIN_BIN_DIR) + "/entrain-trainer", "--attempt", folder_.root()});
  process_ = std::make_unique<Process>(arguments, folder_.Path("log.txt"));
}

std::vector<attempt::AttemptEvent> Gang::Events() const {
  std::vector<attempt::AttemptEvent> events;
  attempt::EventReader reader(folder_);
  const auto entries = reader.Read(100'000);
  EXPECT_TRUE(entries.ok()) << entries.status();
  if (entries.ok()) {
    for (const auto& entry : *entries) events.push_back(entry.event);
  }
  return events;
}

std::int64_t Gang::LastStep() const {
  std::int64_t last = 0;
  for (const auto& event : Events()) {
    if (const auto* sample = std::get_if<domain::EntropySample>(&event)) last = sample->step;
  }
  return last;
}

std::string Gang::NewestCheckpoint() const {
  std::string newest;
  for (const auto& event : Events()) {
    if (const auto* written = std::get_if<attempt::CheckpointWritten>(&event)) newest = folder_.Path(written->folder);
  }
  return newest;
}

attempt::TerminalRecord Gang::Record(std::int64_t rank) const {
  const auto record = folder_.ReadTerminalRecord(rank);
  EXPECT_TRUE(record.ok() && record->has_value()) << record.status();
  return record.ok() ? record->value_or(attempt::TerminalRecord{}) : attempt::TerminalRecord{};
}

}  // namespace entrain::trainer
