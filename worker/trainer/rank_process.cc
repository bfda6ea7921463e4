#include "worker/trainer/rank_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/log_line.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "data/token_dataset.h"
#include "sweep/run_config_json.h"
#include "worker/attempt/control_socket.h"
#include "worker/trainer/console.h"
#include "worker/trainer/device.h"
#include "worker/trainer/step_watch.h"
#include "worker/trainer/training_run.h"

namespace entrain::trainer {
namespace {

using domain::EndCause;

std::atomic<int> stop_signals{0};

void OnStopSignal(int signal_number) {
  stop_signals.fetch_add(1);
  ::signal(signal_number, SIG_DFL);
}

EndCause CauseOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kFailedPrecondition: return EndCause::kUserError;
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kDataLoss: return EndCause::kStorage;
    default: return EndCause::kCrashed;
  }
}

int ExitCodeOf(EndCause cause) {
  switch (cause) {
    case EndCause::kCompleted:
    case EndCause::kStopped: return 0;
    case EndCause::kNonFinite: return kExitHealth;
    case EndCause::kUserError: return kExitConfig;
    default: return kExitRetryable;
  }
}

// torch appends its own stack to a message; people need the first part.
TrainingEnd ExplainException(const std::exception& error) {
  std::string what = error.what();
  if (const std::size_t stack = what.find("\nException raised from"); stack != std::string::npos) what.resize(stack);
  const bool memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
                      what.find("can't allocate memory") != std::string::npos ||
                      what.find("out of memory") != std::string::npos;
  // What the driver says when the device failed or fell off, not what a wrong program says.
  constexpr const char* kDeviceErrors[] = {"CUDA error: uncorrectable ECC error", "CUDA error: unspecified launch failure",
                                           "CUDA error: device-side hardware", "CUDA error: no CUDA-capable device",
                                           "CUDA error: unknown error", "CUDA driver initialization failed", "CUDA error: all CUDA-capable devices are busy"};
  const bool device = std::any_of(std::begin(kDeviceErrors), std::end(kDeviceErrors),
                                  [&](const char* text) { return what.find(text) != std::string::npos; });
  return {memory ? EndCause::kOutOfMemory : device ? EndCause::kDevice : EndCause::kCrashed, what};
}

int EnvironmentNumber(std::initializer_list<const char*> names, int fallback) {
  for (const char* name : names) {
    if (const char* text = std::getenv(name)) return std::atoi(text);
  }
  return fallback;
}

// Everything that one rank of an attempt needs to train, opened and checked.
struct RankInputs {
  attempt::AttemptSpec spec;
  domain::RunConfig config;
  std::string config_hash;
  std::unique_ptr<data::TokenDataset> dataset;
};

absl::StatusOr<RankInputs> OpenInputs(const attempt::AttemptFolder& folder, int world_size) {
  RankInputs inputs;
  ENTRAIN_ASSIGN_OR_RETURN(inputs.spec, folder.ReadSpec());
  ENTRAIN_ASSIGN_OR_RETURN(const std::string text, folder.ReadConfigJson());
  ENTRAIN_ASSIGN_OR_RETURN(inputs.config, sweep::ParseRunConfig(text));
  inputs.config_hash = sweep::MakeCellId(text).value();
  if (inputs.spec.world_size != world_size) {
    return absl::UnavailableError(StrCat("the attempt has ", inputs.spec.world_size, " ranks, the launcher started ", world_size));
  }
  // What counts is the gang that runs, not the one that was asked for.
  inputs.config.resources = {1, inputs.spec.world_size, inputs.spec.threads_per_rank};
  ENTRAIN_RETURN_IF_ERROR(domain::Validate(inputs.config));
  ENTRAIN_ASSIGN_OR_RETURN(data::TokenDataset dataset, data::TokenDataset::Open(inputs.spec.dataset_dir));
  if (!inputs.config.dataset.hash.empty() && dataset.ref().hash != inputs.config.dataset.hash) {
    return absl::InvalidArgumentError(StrCat(inputs.spec.dataset_dir, " holds dataset ", dataset.ref().ToString(),
                                             ", the run wants ", inputs.config.dataset.ToString()));
  }
  inputs.dataset = std::make_unique<data::TokenDataset>(std::move(dataset));
  return inputs;
}

// Rank 0's ear: the socket and this process's signals.
class StopListener {
 public:
  static absl::StatusOr<StopListener> Open(const std::string& socket_path, bool is_first) {
    StopListener listener;
    if (is_first && !socket_path.empty()) {
      ENTRAIN_ASSIGN_OR_RETURN(listener.control_, attempt::ControlListener::Listen(socket_path));
    }
    return listener;
  }

  StopWish Poll() {
    if (stop_signals.load() > 0) wish_ = std::max(wish_, StopWish::kCheckpoint);
    if (control_ != nullptr) {
      for (const attempt::StopCommand& command : control_->Poll()) {
        Log(LogLevel::kInfo, "told to stop", {{"reason", command.reason}});
        wish_ = std::max(wish_, command.mode == domain::StopMode::kNow ? StopWish::kNow : StopWish::kCheckpoint);
      }
    }
    return wish_;
  }

 private:
  std::unique_ptr<attempt::ControlListener> control_;
  StopWish wish_ = StopWish::kNone;
};

// On the watch's thread, while the training thread hangs: nothing can be asked of it, so the process goes and its launcher ends the rest.
std::function<void(const std::string&)> OnHung(const attempt::AttemptFolder& folder) {
  return [folder](const std::string& why) {
    Log(LogLevel::kError, "hung step", {{"reason", why}});
    folder.WriteTerminalRecord(0, {.cause = EndCause::kCrashed, .message = why}).IgnoreError();
    std::_Exit(kExitRetryable);
  };
}

absl::StatusOr<TrainingEnd> OpenAndTrain(const attempt::AttemptFolder& folder, collective::Collective* collective,
                                         const RankOptions& options, TrainingProgress* progress) {
  const SystemClock clock;
  const bool is_first = collective->rank() == 0;
  ENTRAIN_ASSIGN_OR_RETURN(RankInputs inputs, OpenInputs(folder, collective->world_size()));
  ENTRAIN_ASSIGN_OR_RETURN(StopListener stop, StopListener::Open(inputs.spec.control_socket, is_first));
  Console console(inputs.config.train.steps);
  StepWatch watch(folder.HeartbeatPath(collective->rank()), &clock, is_first ? OnHung(folder) : nullptr);
  TrainingContext context{.folder = folder,
                          .spec = inputs.spec,
                          .config = inputs.config,
                          .config_hash = inputs.config_hash,
                          .dataset = inputs.dataset.get(),
                          .collective = collective,
                          .clock = &clock,
                          .watch = &watch,
                          .stop_wish = [&stop] { return stop.Poll(); },
                          .on_sample = {},
                          .on_evaluation = {},
                          .keep_checkpoints = options.keep_checkpoints};
  if (options.print_progress) {
    context.on_sample = [&console](const domain::EntropySample& sample) { console.Show(sample); };
    context.on_evaluation = [&console](const domain::Evaluation& evaluation) { console.Show(evaluation); };
  }
  return Train(context, progress);
}

TrainingEnd TrainToAnEnd(const attempt::AttemptFolder& folder, collective::Collective* collective,
                         const RankOptions& options, TrainingProgress* progress) {
  try {
    absl::StatusOr<TrainingEnd> end = OpenAndTrain(folder, collective, options, progress);
    if (end.ok()) return *std::move(end);
    return {CauseOf(end.status()), std::string(end.status().message())};
  } catch (const std::exception& error) {
    return ExplainException(error);
  }
}

// The record is what counts; without a place to write it, the log and the exit code remain.
void Leave(const attempt::AttemptFolder& folder, std::int64_t rank, const TrainingEnd& end, const TrainingProgress& progress) {
  const attempt::TerminalRecord record{end.cause, progress.step, end.message, progress.loss, progress.tokens};
  const absl::Status written = folder.WriteTerminalRecord(rank, record);
  const bool good = ExitCodeOf(end.cause) == 0;
  Log(good ? LogLevel::kInfo : LogLevel::kError, "ended",
      {{"cause", std::string(domain::ToString(end.cause))},
       {"step", std::to_string(progress.step)}, {"message", end.message}});
  if (!written.ok()) Log(LogLevel::kError, "no terminal record", {{"why", std::string(written.message())}});
}

// Every rank ends with this cause, so that all can leave the collective together.
bool IsCommonEnd(EndCause cause) {
  return cause == EndCause::kCompleted || cause == EndCause::kStopped || cause == EndCause::kNonFinite;
}

}  // namespace

LauncherPlace FindLauncherPlace() {
  LauncherPlace place;
  place.rank = EnvironmentNumber({"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}, 0);
  place.world_size = EnvironmentNumber({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, 1);
  // srun gives every task these, also where no MPI is used.
  if (std::getenv("PMIX_RANK") != nullptr && std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) {
    place.world_size = EnvironmentNumber({"SLURM_NTASKS"}, place.world_size);
  }
  return place;
}

void InstallSignalHandlers() {
  struct sigaction action {};
  action.sa_handler = OnStopSignal;
  ::sigaction(SIGTERM, &action, nullptr);
  ::sigaction(SIGINT, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
}

bool BindToParent() {
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  return parent != 1 && ::getppid() == parent;
}

int RunAttempt(const std::string& folder_path, const RankOptions& options) {
  const attempt::AttemptFolder folder(folder_path);
  const int rank = FindLauncherPlace().rank;
  const absl::StatusOr<attempt::AttemptSpec> spec = folder.ReadSpec();
  if (spec.ok()) StampLog({{"run", spec->key.run.value()}, {"attempt", StrCat(spec->key.attempt)}, {"rank", StrCat(rank)}});
  if (!spec.ok()) {
    Leave(folder, rank, {CauseOf(spec.status()), std::string(spec.status().message())}, {});
    return ExitCodeOf(CauseOf(spec.status()));
  }
  // Before the collective, which joins with the GPU that is current.
  if (const absl::Status status = SelectDevice(*spec, rank).status(); !status.ok()) {
    const EndCause cause = absl::IsUnavailable(status) ? EndCause::kLaunch : CauseOf(status);
    Leave(folder, rank, {cause, std::string(status.message())}, {});
    return ExitCodeOf(cause);
  }
  absl::StatusOr<std::unique_ptr<collective::Collective>> collective = collective::MakeCollective(spec->collective);
  if (!collective.ok()) {
    Leave(folder, rank, {EndCause::kLaunch, std::string(collective.status().message())}, {});
    return ExitCodeOf(EndCause::kLaunch);
  }
  return RunRank(folder, *std::move(collective), options);
}

int RunRank(const attempt::AttemptFolder& folder, std::unique_ptr<collective::Collective> collective,
            const RankOptions& options) {
  TrainingProgress progress;
  const TrainingEnd end = TrainToAnEnd(folder, collective.get(), options, &progress);
  Leave(folder, collective->rank(), end, progress);
  const int exit_code = ExitCodeOf(end.cause);
  // The others may wait for this rank in a reduction.
  if (!IsCommonEnd(end.cause) && collective->world_size() > 1) collective->Abort(exit_code);
  return exit_code;
}

}  // namespace entrain::trainer
