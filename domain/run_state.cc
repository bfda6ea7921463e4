#include "domain/run_state.h"

#include <array>

#include "base/status_macros.h"
#include "base/strings.h"
#include "domain/enum_names.h"
#include "domain/run_config.h"

namespace entrain::domain {
namespace {

constexpr std::array kRunStates = {
    Name{RunState::kQueued, "queued"},       Name{RunState::kStarting, "starting"}, Name{RunState::kRunning, "running"},
    Name{RunState::kPaused, "paused"},       Name{RunState::kStopping, "stopping"}, Name{RunState::kSucceeded, "succeeded"},
    Name{RunState::kHalted, "halted"},       Name{RunState::kPruned, "pruned"},     Name{RunState::kFailed, "failed"},
    Name{RunState::kCancelled, "cancelled"}};
constexpr std::array kHaltReasons = {
    Name{HaltReason::kNone, "none"},           Name{HaltReason::kCollapse, "collapse"},
    Name{HaltReason::kOverload, "overload"},   Name{HaltReason::kDivergence, "divergence"},
    Name{HaltReason::kNonFinite, "non_finite"}, Name{HaltReason::kPlateau, "plateau"}};
constexpr std::array kEndCauses = {
    Name{EndCause::kCompleted, "completed"},     Name{EndCause::kStopped, "stopped"},
    Name{EndCause::kNonFinite, "non_finite"},    Name{EndCause::kUserError, "user_error"},
    Name{EndCause::kOutOfMemory, "out_of_memory"}, Name{EndCause::kStorage, "storage"},
    Name{EndCause::kLaunch, "launch"},           Name{EndCause::kCrashed, "crashed"},
    Name{EndCause::kMachineLost, "machine_lost"}, Name{EndCause::kFenced, "fenced"},
    Name{EndCause::kDevice, "device"}};
constexpr std::array kFailureClasses = {
    Name{FailureClass::kNone, "none"},               Name{FailureClass::kUserError, "user_error"},
    Name{FailureClass::kOutOfMemory, "out_of_memory"}, Name{FailureClass::kLostMachine, "lost_machine"},
    Name{FailureClass::kStorage, "storage"},         Name{FailureClass::kLaunch, "launch"},
    Name{FailureClass::kCrash, "crash"},
    Name{FailureClass::kDevice, "device"},       Name{FailureClass::kStalled, "stalled"},
    Name{FailureClass::kTimeLimit, "time_limit"}};

absl::Status RequirePositive(std::int64_t value, std::string_view field) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(field, " must be positive, is ", value));
}

}  // namespace

bool IsFinal(RunState state) { return state >= RunState::kSucceeded; }

FailureClass ClassOf(EndCause cause) {
  switch (cause) {
    case EndCause::kCompleted:
    case EndCause::kStopped:
    case EndCause::kNonFinite:
    case EndCause::kFenced: return FailureClass::kNone;
    case EndCause::kUserError: return FailureClass::kUserError;
    case EndCause::kOutOfMemory: return FailureClass::kOutOfMemory;
    case EndCause::kStorage: return FailureClass::kStorage;
    case EndCause::kLaunch: return FailureClass::kLaunch;
    case EndCause::kCrashed: return FailureClass::kCrash;
    case EndCause::kMachineLost: return FailureClass::kLostMachine;
    case EndCause::kDevice: return FailureClass::kDevice;
  }
  return FailureClass::kCrash;
}

std::string_view ToString(RunState state) { return TextOf(kRunStates, state); }
std::string_view ToString(HaltReason reason) { return TextOf(kHaltReasons, reason); }
std::string_view ToString(EndCause cause) { return TextOf(kEndCauses, cause); }
std::string_view ToString(FailureClass failure) { return TextOf(kFailureClasses, failure); }
std::optional<RunState> ParseRunState(std::string_view text) { return ValueOf<RunState>(kRunStates, text); }
std::optional<HaltReason> ParseHaltReason(std::string_view text) { return ValueOf<HaltReason>(kHaltReasons, text); }
std::optional<EndCause> ParseEndCause(std::string_view text) { return ValueOf<EndCause>(kEndCauses, text); }
std::optional<FailureClass> ParseFailureClass(std::string_view text) {
  return ValueOf<FailureClass>(kFailureClasses, text);
}

absl::Status Validate(const RunConfig& config) {
  ENTRAIN_RETURN_IF_ERROR(Validate(config.model));
  const TrainConfig& train = config.train;
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(train.steps, "train.steps"));
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(train.batch_size, "train.batch_size"));
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(train.accumulation, "train.accumulation"));
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(train.context, "train.context"));
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(config.resources.machines, "resources.machines"));
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(config.resources.ranks_per_machine, "resources.ranks_per_machine"));
  ENTRAIN_RETURN_IF_ERROR(RequirePositive(config.resources.threads_per_rank, "resources.threads_per_rank"));
  if (train.context > config.model.n_positions) {
    return absl::InvalidArgumentError(StrCat("train.context is ", train.context,
                                                   ", more than model.n_positions=", config.model.n_positions));
  }
  if (train.batch_size % config.resources.WorldSize() != 0) {
    return absl::InvalidArgumentError(StrCat("train.batch_size=", train.batch_size,
                                                   " is not a multiple of the gang's ", config.resources.WorldSize(),
                                                   " ranks"));
  }
  return absl::OkStatus();
}

}  // namespace entrain::domain
