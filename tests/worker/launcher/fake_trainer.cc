// Behaves like a trainer towards its attempt folder, without torch: events, checkpoints, control socket, terminal records.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/files.h"
#include "tests/worker/launcher/fake_run.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/attempt/control_socket.h"

namespace {

using namespace entrain;
using attempt::AttemptFolder;

struct Rank {
  AttemptFolder folder;
  attempt::AttemptSpec spec;
  launcher::FakeRun run;
  std::int64_t rank = 0;
};

std::int64_t ResumeStep(const Rank& rank) {
  if (rank.spec.resume_dir.empty()) return 0;
  const absl::StatusOr<std::string> text = ReadFile(rank.spec.resume_dir + "/step");
  return text.ok() ? std::atoll(text->c_str()) : 0;
}

domain::EntropySample SampleOf(std::int64_t step) {
  domain::EntropySample sample;
  sample.step = step;
  sample.loss = 5.0 - 0.01 * static_cast<double>(step);
  sample.tokens = step * 64;
  sample.tokens_per_second = 1000.0;
  sample.entropy_nats = {0.5f, 0.25f, 0.125f, static_cast<float>(step)};
  sample.max_abs_score = {1.0f, 2.0f};
  return sample;
}

void Checkpoint(const Rank& rank, std::int64_t step, attempt::EventWriter& events) {
  char name[64];
  std::snprintf(name, sizeof(name), "checkpoints/step-%08lld", static_cast<long long>(step));
  const std::string path = rank.folder.Path(name);
  if (!MakeFolders(path).ok() || !WriteFileAtomically(path + "/step", std::to_string(step)).ok()) std::exit(9);
  if (!events.Append(attempt::CheckpointWritten{step, name, 4, "hash"}).ok()) std::exit(9);
}

int End(const Rank& rank, std::int64_t step, bool stopped) {
  const bool mine = rank.run.end_rank < 0 || rank.run.end_rank == rank.rank;
  attempt::TerminalRecord record;
  record.cause = stopped ? domain::EndCause::kStopped : domain::EndCause::kCompleted;
  if (!stopped && mine) record.cause = domain::ParseEndCause(rank.run.end).value();
  if (!stopped && !mine && rank.run.end != "completed") record.cause = domain::EndCause::kCrashed;
  record.step = step;
  record.message = "fake " + std::string(domain::ToString(record.cause));
  record.loss = 1.5;
  record.tokens = step * 64;
  if (rank.run.leave_record && !rank.folder.WriteTerminalRecord(rank.rank, record).ok()) return 9;
  return static_cast<int>(rank.run.exit_status);
}

int Train(const Rank& rank) {
  attempt::EventWriter events(rank.folder, 2000);
  std::unique_ptr<attempt::ControlListener> control;
  std::int64_t step = ResumeStep(rank);
  if (rank.rank == 0) {
    auto listening = attempt::ControlListener::Listen(rank.spec.control_socket);
    if (!listening.ok()) return 8;
    control = *std::move(listening);
    if (rank.run.ready && !events.Append(attempt::GangReady{step}).ok()) return 9;
  }
  bool stopped = false;
  while (step < rank.run.steps && !stopped) {
    std::this_thread::sleep_for(std::chrono::milliseconds(rank.run.step_ms));
    ++step;
    if (rank.rank != 0) {
      stopped = ::access(rank.folder.Path("stopping").c_str(), F_OK) == 0;
      continue;
    }
    if (!events.Append(SampleOf(step)).ok()) return 9;
    if (rank.run.checkpoint_interval > 0 && step % rank.run.checkpoint_interval == 0) Checkpoint(rank, step, events);
    for (const attempt::StopCommand& command : control->Poll()) {
      stopped = true;
      if (command.mode == domain::StopMode::kCheckpoint) Checkpoint(rank, step, events);
      if (!WriteFileAtomically(rank.folder.Path("stopping"), "").ok()) return 9;
    }
  }
  return End(rank, step, stopped);
}

void LeaveStray() {
  if (::fork() != 0) return;
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  for (;;) ::pause();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 7;
  Rank rank{AttemptFolder(argv[2]), {}, {}, 0};
  rank.spec = rank.folder.ReadSpec().value();
  // With a real run configuration the orders lie beside the dataset.
  absl::StatusOr<launcher::FakeRun> run = launcher::FakeRun::Parse(rank.folder.ReadConfigJson().value());
  if (!run.ok()) run = launcher::FakeRun::Parse(ReadFile(rank.spec.dataset_dir + "/fake.json").value());
  rank.run = run.value();
  if (const char* text = std::getenv("OMPI_COMM_WORLD_RANK")) rank.rank = std::atoll(text);
  if (rank.run.ignore_signals) ::signal(SIGTERM, SIG_IGN);
  if (rank.run.strays) LeaveStray();
  std::printf("fake rank %lld begins\n", static_cast<long long>(rank.rank));
  std::fflush(stdout);
  return Train(rank);
}
