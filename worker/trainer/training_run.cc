#include "worker/trainer/training_run.h"

#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <utility>

#include "base/build_id.h"
#include "base/files.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/trainer/device.h"
#include "worker/trainer/evaluator.h"
#include "worker/trainer/model_state.h"
#include "worker/trainer/recorder.h"
#include "worker/trainer/step_limit.h"
#include "worker/trainer/training_step.h"

namespace entrain::trainer {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

std::int64_t MillisecondsSince(SteadyClock::time_point begin) {
  return static_cast<std::int64_t>(SecondsSince(begin) * 1000.0);
}

class TrainingRun {
 public:
  TrainingRun(const TrainingContext& context, const std::string& device, Batches batches, TrainingProgress* progress);

  absl::Status LoadStart();
  absl::StatusOr<TrainingEnd> Run();

 private:
  // What one step left behind.
  struct StepResult {
    domain::EntropySample sample;
    StopWish wish = StopWish::kNone;
    bool applied = false;
  };

  bool is_first() const { return collective_->rank() == 0; }
  const domain::TrainConfig& train() const { return context_.config.train; }
  absl::Status StartStep();
  bool NextStepMayStart(const StepResult& result) const;
  absl::StatusOr<StepResult> TrainStep();
  domain::EntropySample MakeSample(double grad_norm, double lr, double seconds) const;
  absl::Status Report(const StepResult& result);
  absl::Status Evaluate();
  bool EvaluationIsDue() const;
  bool CheckpointIsDue() const;
  absl::Status Checkpoint();
  absl::Status FinishCheckpoints();
  absl::Status WaitForDisk();
  TrainingEnd NonFiniteEnd(const domain::EntropySample& sample) const;
  CheckpointState CurrentState() const;
  void Beat() const;

  const TrainingContext& context_;
  std::string device_;
  collective::Collective* collective_;
  Batches batches_;
  TrainingProgress* progress_;
  TrainingStep training_;
  Evaluator evaluator_;
  Snapshot snapshot_;
  std::unique_ptr<Recorder> recorder_;  // rank 0 only
  SteadyClock::time_point step_began_;
  StepLimit step_limit_;
  std::int64_t step_ = 0;               // complete steps
  std::int64_t tokens_ = 0;
  double loss_ = 0.0;
  double best_eval_loss_ = 0.0;
  std::int64_t best_eval_step_ = 0;
  std::int64_t last_eval_step_ = 0;
};

TrainingRun::TrainingRun(const TrainingContext& context, const std::string& device, Batches batches, TrainingProgress* progress)
    : context_(context),
      device_(device),
      collective_(context.collective),
      batches_(std::move(batches)),
      progress_(progress),
      training_(context.config, torch::Device(device), context.collective),
      evaluator_(&batches_, context.config.train, ArithmeticOf(context.config.train.precision), context.collective) {
  if (is_first()) recorder_ = std::make_unique<Recorder>(context.folder, context.keep_checkpoints);
}

absl::Status TrainingRun::LoadStart() {
  const attempt::AttemptSpec& spec = context_.spec;
  if (spec.resume_dir.empty()) {
    if (!spec.init_dir.empty()) ENTRAIN_RETURN_IF_ERROR(InitialiseFrom(spec.init_dir, &training_.model()));
    training_.ParametersChanged();
    return absl::OkStatus();
  }
  ENTRAIN_ASSIGN_OR_RETURN(const OpenedCheckpoint checkpoint, OpenCheckpoint(spec.resume_dir));
  const absl::Status exact = CheckExactResume(checkpoint.state, CurrentState());
  if (!exact.ok()) {
    if (!spec.allow_inexact_resume) return exact;
    Log(LogLevel::kWarning, "inexact resume", {{"why", std::string(exact.message())}});
  }
  ENTRAIN_RETURN_IF_ERROR(Restore(checkpoint, !exact.ok(), &training_.model(), &training_.optimizer()));
  training_.ParametersChanged();
  step_ = checkpoint.state.step;
  tokens_ = checkpoint.state.tokens;
  loss_ = checkpoint.state.loss;
  best_eval_loss_ = checkpoint.state.best_eval_loss;
  best_eval_step_ = checkpoint.state.best_eval_step;
  last_eval_step_ = checkpoint.state.last_eval_step;
  training_.loss_scale().Restore(checkpoint.state.loss_scale, checkpoint.state.loss_scale_steps);
  *progress_ = {step_, loss_, tokens_};
  return absl::OkStatus();
}

absl::StatusOr<TrainingEnd> TrainingRun::Run() {
  Beat();
  ENTRAIN_RETURN_IF_ERROR(collective_->Barrier());
  if (is_first()) ENTRAIN_RETURN_IF_ERROR(recorder_->Record(attempt::GangReady{step_}));
  while (step_ < train().steps) {
    ENTRAIN_ASSIGN_OR_RETURN(const StepResult result, TrainStep());
    ENTRAIN_RETURN_IF_ERROR(Report(result));
    if (!result.applied) return NonFiniteEnd(result.sample);
    const bool last = step_ == train().steps;
    if (EvaluationIsDue()) ENTRAIN_RETURN_IF_ERROR(Evaluate());
    if (result.wish == StopWish::kNow && !last) return TrainingEnd{domain::EndCause::kStopped, "stopped at once, as asked"};
    if (result.wish == StopWish::kCheckpoint && !last) {
      ENTRAIN_RETURN_IF_ERROR(Checkpoint());
      ENTRAIN_RETURN_IF_ERROR(FinishCheckpoints());
      return TrainingEnd{domain::EndCause::kStopped, StrCat("stopped after the checkpoint of step ", step_, ", as asked")};
    }
    if (CheckpointIsDue()) ENTRAIN_RETURN_IF_ERROR(Checkpoint());
  }
  if (last_eval_step_ != step_) ENTRAIN_RETURN_IF_ERROR(Evaluate());
  ENTRAIN_RETURN_IF_ERROR(FinishCheckpoints());
  return TrainingEnd{domain::EndCause::kCompleted, StrCat("trained ", step_, " steps")};
}

absl::Status TrainingRun::StartStep() {
  const auto batch_of = [this](std::int64_t micro) { return batches_.Training(step_ + 1, micro); };
  return training_.Start(step_, batch_of, context_.stop_wish());
}

// A GPU works on while the host reports. Every rank answers alike.
bool TrainingRun::NextStepMayStart(const StepResult& result) const {
  return training_.runs_beside_host() && result.applied && result.wish == StopWish::kNone && step_ < train().steps &&
         !EvaluationIsDue() && !CheckpointIsDue();
}

absl::StatusOr<TrainingRun::StepResult> TrainingRun::TrainStep() {
  if (!training_.is_started()) {
    step_began_ = SteadyClock::now();
    ENTRAIN_RETURN_IF_ERROR(StartStep());
  }
  ENTRAIN_ASSIGN_OR_RETURN(const StepOutcome outcome, training_.Finish([this] { Beat(); }));
  ++step_;
  tokens_ += train().batch_size * train().accumulation * train().context;
  loss_ = training_.summary().loss();
  *progress_ = {step_, loss_, tokens_};
  StepResult result;
  result.wish = training_.summary().stop_wish();
  result.applied = outcome.applied;
  result.sample = MakeSample(outcome.grad_norm, outcome.lr, 0.0);
  const double step_tokens = static_cast<double>(train().batch_size * train().accumulation * train().context);
  result.sample.tokens_per_second = step_tokens / SecondsSince(step_began_);
  step_limit_.Add(SteadyClock::now() - step_began_);
  training_.SetLimit(step_limit_.Limit());
  step_began_ = SteadyClock::now();
  if (NextStepMayStart(result)) ENTRAIN_RETURN_IF_ERROR(StartStep());
  if (context_.watch != nullptr) context_.watch->StepDone(step_limit_.Limit());
  return result;
}

domain::EntropySample TrainingRun::MakeSample(double grad_norm, double lr, double tokens_per_second) const {
  domain::EntropySample sample;
  sample.step = step_;
  sample.loss = loss_;
  sample.reg = training_.summary().reg();
  sample.grad_norm = grad_norm;
  sample.lr = lr;
  sample.tokens = tokens_;
  sample.tokens_per_second = tokens_per_second;
  sample.wall_ms = context_.clock->WallMs();
  sample.entropy_nats = training_.summary().entropy_nats();
  sample.max_abs_score = training_.summary().max_abs_score();
  if (const torch::Tensor theta_LH = training_.model().Theta(); theta_LH.defined()) {
    const torch::Tensor flat = theta_LH.detach().to(torch::kCPU, torch::kFloat32).contiguous();
    sample.theta.assign(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
  }
  return sample;
}

absl::Status TrainingRun::Report(const StepResult& result) {
  if (!is_first()) return absl::OkStatus();
  ENTRAIN_RETURN_IF_ERROR(recorder_->CheckpointStatus());
  if (context_.on_sample) context_.on_sample(result.sample);
  return recorder_->Record(result.sample);
}

absl::Status TrainingRun::Evaluate() {
  last_eval_step_ = step_;
  if (!evaluator_.possible()) return absl::OkStatus();
  ENTRAIN_ASSIGN_OR_RETURN(const HeldOutLoss held_out, evaluator_.Run(&training_.model(), [this] { Beat(); }));
  if (std::isfinite(held_out.loss) && (best_eval_step_ == 0 || held_out.loss < best_eval_loss_)) {
    best_eval_loss_ = held_out.loss;
    best_eval_step_ = step_;
  }
  if (!is_first()) return absl::OkStatus();
  const domain::Evaluation evaluation{step_, held_out.loss, held_out.tokens, context_.clock->WallMs()};
  if (context_.on_evaluation) context_.on_evaluation(evaluation);
  return recorder_->Record(evaluation);
}

bool TrainingRun::EvaluationIsDue() const {
  return step_ == train().steps || (train().eval_interval_steps > 0 && step_ % train().eval_interval_steps == 0);
}

bool TrainingRun::CheckpointIsDue() const {
  // The best one is kept as well as the last.
  if (step_ == train().steps || step_ == best_eval_step_) return true;
  return train().checkpoint_interval_steps > 0 && step_ % train().checkpoint_interval_steps == 0;
}

// The training thread pays for the copy alone, and for the previous write if that is not complete yet.
absl::Status TrainingRun::Checkpoint() {
  if (!is_first()) return absl::OkStatus();
  const auto began = SteadyClock::now();
  ENTRAIN_RETURN_IF_ERROR(WaitForDisk());
  const std::int64_t waited_ms = MillisecondsSince(began);
  snapshot_.Capture(training_.model(), training_.optimizer());
  recorder_->StartCheckpoint({CurrentState(), context_.config.model, snapshot_.ModelTensors(), snapshot_.OptimizerTensors()});
  Log(LogLevel::kInfo, "checkpoint started", {{"step", std::to_string(step_)},
                                              {"stall_ms", std::to_string(MillisecondsSince(began))},
                                              {"of_which_waiting_ms", std::to_string(waited_ms)}});
  return absl::OkStatus();
}

// No rank says that it is done before the last checkpoint is on disk.
absl::Status TrainingRun::FinishCheckpoints() {
  if (is_first()) ENTRAIN_RETURN_IF_ERROR(WaitForDisk());
  return collective_->Barrier();
}

absl::Status TrainingRun::WaitForDisk() {
  if (context_.watch != nullptr) context_.watch->Suspend();
  const absl::Status status = recorder_->WaitForCheckpoint();
  if (context_.watch != nullptr) context_.watch->Resume();
  return status;
}

TrainingEnd TrainingRun::NonFiniteEnd(const domain::EntropySample& sample) const {
  std::string what = StrCat("the gradient norm is ", sample.grad_norm);
  if (!std::isfinite(sample.loss)) {
    what = StrCat("the loss is ", sample.loss);
  } else if (!std::isfinite(sample.reg)) {
    what = StrCat("the regulariser is ", sample.reg);
  }
  return {domain::EndCause::kNonFinite, StrCat(what, " at step ", sample.step, "; that step's update was not applied")};
}

CheckpointState TrainingRun::CurrentState() const {
  CheckpointState state;
  state.step = step_;
  state.tokens = tokens_;
  state.loss = loss_;
  state.best_eval_loss = best_eval_loss_;
  state.best_eval_step = best_eval_step_;
  state.last_eval_step = last_eval_step_;
  state.loss_scale = training_.loss_scale().value();
  state.loss_scale_steps = training_.loss_scale().steps_since_change();
  state.seed = train().seed;
  state.world_size = collective_->world_size();
  state.threads_per_rank = context_.spec.threads_per_rank;
  state.instruction_set = HardwareModel(device_);
  state.config_hash = context_.config_hash;
  state.build_id = std::string(BuildId());
  return state;
}

void TrainingRun::Beat() const {
  if (context_.watch != nullptr) context_.watch->Progress();
}

}  // namespace

absl::StatusOr<TrainingEnd> Train(const TrainingContext& context, TrainingProgress* progress) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string device, SelectDevice(context.spec, context.collective->rank()));
  FixNumerics(context.spec.threads_per_rank);
  ENTRAIN_ASSIGN_OR_RETURN(Batches batches,
                           Batches::Create(context.dataset, context.config, context.collective->rank(),
                                           context.collective->world_size(), torch::Device(device)));
  TrainingRun run(context, device, std::move(batches), progress);
  ENTRAIN_RETURN_IF_ERROR(run.LoadStart());
  return run.Run();
}

}  // namespace entrain::trainer
