#include "worker/trainer/training_run.h"

#include <torch/torch.h>

#include <malloc.h>
#include <sys/stat.h>
#include <fcntl.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <utility>

#include "base/build_id.h"
#include "base/files.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/trainer/device.h"
#include "worker/trainer/evaluator.h"
#include "worker/trainer/gradient_buckets.h"
#include "worker/trainer/loss_scale.h"
#include "worker/trainer/model_state.h"
#include "worker/trainer/recorder.h"
#include "worker/trainer/step_summary.h"
#include "worker/trainer/tensor_reduction.h"

namespace entrain::trainer {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

std::int64_t MillisecondsSince(SteadyClock::time_point begin) {
  return static_cast<std::int64_t>(SecondsSince(begin) * 1000.0);
}

// The conditions of bit-identical numbers: a fixed number of threads, no choice of algorithm by luck.
void FixNumerics(std::int64_t threads) {
  torch::set_num_threads(static_cast<int>(threads));
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  // That mode would also fill every new tensor, which costs time and changes nothing here.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
  // Freed tensors stay with the process: giving pages back and faulting them in again every step costs more than the step's small
  // operations.
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, -1);
}

torch::Dtype ArithmeticOf(domain::Precision precision) {
  switch (precision) {
    case domain::Precision::kFp32: return torch::kFloat32;
    case domain::Precision::kBf16: return torch::kBFloat16;
    case domain::Precision::kFp16: return torch::kFloat16;
  }
  return torch::kFloat32;
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
    bool finite() const { return std::isfinite(sample.loss) && std::isfinite(sample.reg) && std::isfinite(sample.grad_norm); }
  };

  bool is_first() const { return collective_->rank() == 0; }
  const domain::TrainConfig& train() const { return context_.config.train; }
  model::ForwardOptions TrainingForward() const;
  torch::Tensor MeanOverRanks(const torch::Tensor& values) const;

  absl::StatusOr<StepResult> TrainStep();
  absl::Status ComputeGradients();
  // The same until they are finite, each time at half the loss scale; the norm, after averaging.
  absl::StatusOr<double> ComputeFiniteGradients();
  domain::EntropySample MakeSample(double grad_norm, double lr, double seconds) const;
  absl::Status Report(const StepResult& result);
  absl::Status Evaluate();
  bool CheckpointIsDue() const;
  absl::Status Checkpoint();
  absl::Status FinishCheckpoints();
  TrainingEnd NonFiniteEnd(const domain::EntropySample& sample) const;
  CheckpointState CurrentState() const;
  void Beat() const;

  const TrainingContext& context_;
  std::string device_;
  collective::Collective* collective_;
  Batches batches_;
  TrainingProgress* progress_;
  model::Gpt model_;
  AdamW optimizer_;
  GradientBuckets buckets_;
  StepSummary summary_;
  Evaluator evaluator_;
  LossScale loss_scale_;
  Snapshot snapshot_;
  std::unique_ptr<Recorder> recorder_;  // rank 0 only
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
      model_(context.config.model, context.config.train.seed, torch::kFloat32, torch::Device(device)),
      optimizer_(model_.NamedParameters(), AdamWOptions::From(context.config.train)),
      buckets_(optimizer_, model_.NamedParameters(), context.collective),
      summary_(context.config.model.n_layer, context.config.model.n_head, context.config.train.accumulation,
               torch::Device(device), context.collective),
      evaluator_(&batches_, context.config.train, ArithmeticOf(context.config.train.precision), context.collective),
      loss_scale_(context.config.train.precision) {
  if (is_first()) recorder_ = std::make_unique<Recorder>(context.folder, context.keep_checkpoints);
}

absl::Status TrainingRun::LoadStart() {
  const attempt::AttemptSpec& spec = context_.spec;
  if (spec.resume_dir.empty()) {
    return spec.init_dir.empty() ? absl::OkStatus() : InitialiseFrom(spec.init_dir, &model_);
  }
  ENTRAIN_ASSIGN_OR_RETURN(const OpenedCheckpoint checkpoint, OpenCheckpoint(spec.resume_dir));
  if (absl::Status exact = CheckExactResume(checkpoint.state, CurrentState()); !exact.ok()) {
    if (!spec.allow_inexact_resume) return exact;
    Log(LogLevel::kWarning, "inexact resume", {{"why", std::string(exact.message())}});
  }
  ENTRAIN_RETURN_IF_ERROR(Restore(checkpoint, &model_, &optimizer_));
  step_ = checkpoint.state.step;
  tokens_ = checkpoint.state.tokens;
  loss_ = checkpoint.state.loss;
  best_eval_loss_ = checkpoint.state.best_eval_loss;
  best_eval_step_ = checkpoint.state.best_eval_step;
  last_eval_step_ = checkpoint.state.last_eval_step;
  loss_scale_.Restore(checkpoint.state.loss_scale, checkpoint.state.loss_scale_steps);
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
    if (!result.finite()) return NonFiniteEnd(result.sample);
    const bool last = step_ == train().steps;
    if (last || (train().eval_interval_steps > 0 && step_ % train().eval_interval_steps == 0)) {
      ENTRAIN_RETURN_IF_ERROR(Evaluate());
    }
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

model::ForwardOptions TrainingRun::TrainingForward() const {
  model::ForwardOptions options;
  const int world_size = collective_->world_size();
  options.batch_share = 1.0 / world_size;
  options.arithmetic = ArithmeticOf(train().precision);
  if (world_size > 1) options.mean_over_ranks = [this](const torch::Tensor& values) { return MeanOverRanks(values); };
  return options;
}

torch::Tensor TrainingRun::MeanOverRanks(const torch::Tensor& values) const {
  torch::Tensor mean = values.detach().clone(at::MemoryFormat::Contiguous);
  const absl::Status status = StartSum(collective_, mean)->Wait();
  if (!status.ok()) throw std::runtime_error(std::string(status.message()));
  return mean.div_(static_cast<double>(collective_->world_size()));
}

absl::Status TrainingRun::ComputeGradients() {
  summary_.Clear();
  optimizer_.ZeroGrad();
  const model::ForwardOptions options = TrainingForward();
  for (std::int64_t micro = 0; micro < train().accumulation; ++micro) {
    const Batch batch = batches_.Training(step_ + 1, micro);
    const model::ForwardOutput output = model_.Forward(batch.tokens_BT, batch.labels_BT, options);
    summary_.AddMicroBatch(micro, output);
    if (micro + 1 == train().accumulation) {
      summary_.StartReduction(context_.stop_wish());
      buckets_.Arm();
    }
    (loss_scale_.value() == 1.0 ? output.total : output.total * loss_scale_.value()).backward();
  }
  absl::Status status = buckets_.Finish();
  status.Update(summary_.Finish());
  return status;
}

absl::StatusOr<double> TrainingRun::ComputeFiniteGradients() {
  const double share = 1.0 / static_cast<double>(collective_->world_size() * train().accumulation);
  for (;;) {
    ENTRAIN_RETURN_IF_ERROR(ComputeGradients());
    const double norm = optimizer_.ClipGradients(train().clip, share / loss_scale_.value());
    // A loss that is not finite is so at any scale. Loss and norm are the same numbers on every rank, and so is this decision.
    const bool repairable = !std::isfinite(norm) && std::isfinite(summary_.loss()) && std::isfinite(summary_.reg());
    if (!repairable || !loss_scale_.Lower()) return norm;
    Log(LogLevel::kInfo, "gradients overflowed; the step is computed again",
        {{"step", std::to_string(step_ + 1)}, {"loss_scale", std::to_string(loss_scale_.value())}});
    Beat();
  }
}

absl::StatusOr<TrainingRun::StepResult> TrainingRun::TrainStep() {
  const auto began = SteadyClock::now();
  ENTRAIN_ASSIGN_OR_RETURN(const double norm, ComputeFiniteGradients());
  const double lr = LearningRate(train(), step_);
  ++step_;
  tokens_ += train().batch_size * train().accumulation * train().context;
  loss_ = summary_.loss();
  *progress_ = {step_, loss_, tokens_};
  StepResult result;
  result.wish = summary_.stop_wish();
  result.sample = MakeSample(norm, lr, 0.0);
  // Loss and norm are the same numbers on every rank, and so is this decision.
  if (result.finite()) {
    optimizer_.Step(lr);
    loss_scale_.StepApplied();
  }
  const double step_tokens = static_cast<double>(train().batch_size * train().accumulation * train().context);
  result.sample.tokens_per_second = step_tokens / SecondsSince(began);
  Beat();
  return result;
}

domain::EntropySample TrainingRun::MakeSample(double grad_norm, double lr, double tokens_per_second) const {
  domain::EntropySample sample;
  sample.step = step_;
  sample.loss = loss_;
  sample.reg = summary_.reg();
  sample.grad_norm = grad_norm;
  sample.lr = lr;
  sample.tokens = tokens_;
  sample.tokens_per_second = tokens_per_second;
  sample.wall_ms = context_.clock->WallMs();
  sample.entropy_nats = summary_.entropy_nats();
  sample.max_abs_score = summary_.max_abs_score();
  if (const torch::Tensor theta_LH = model_.Theta(); theta_LH.defined()) {
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
  ENTRAIN_ASSIGN_OR_RETURN(const HeldOutLoss held_out, evaluator_.Run(&model_, [this] { Beat(); }));
  if (std::isfinite(held_out.loss) && (best_eval_step_ == 0 || held_out.loss < best_eval_loss_)) {
    best_eval_loss_ = held_out.loss;
    best_eval_step_ = step_;
  }
  if (!is_first()) return absl::OkStatus();
  const domain::Evaluation evaluation{step_, held_out.loss, held_out.tokens, context_.clock->WallMs()};
  if (context_.on_evaluation) context_.on_evaluation(evaluation);
  return recorder_->Record(evaluation);
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
  ENTRAIN_RETURN_IF_ERROR(recorder_->WaitForCheckpoint());
  const std::int64_t waited_ms = MillisecondsSince(began);
  snapshot_.Capture(model_, optimizer_);
  recorder_->StartCheckpoint({CurrentState(), context_.config.model, snapshot_.ModelTensors(), snapshot_.OptimizerTensors()});
  Log(LogLevel::kInfo, "checkpoint started", {{"step", std::to_string(step_)},
                                              {"stall_ms", std::to_string(MillisecondsSince(began))},
                                              {"of_which_waiting_ms", std::to_string(waited_ms)}});
  return absl::OkStatus();
}

// No rank says that it is done before the last checkpoint is on disk.
absl::Status TrainingRun::FinishCheckpoints() {
  if (is_first()) ENTRAIN_RETURN_IF_ERROR(recorder_->WaitForCheckpoint());
  return collective_->Barrier();
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
  state.loss_scale = loss_scale_.value();
  state.loss_scale_steps = loss_scale_.steps_since_change();
  state.seed = train().seed;
  state.world_size = collective_->world_size();
  state.threads_per_rank = context_.spec.threads_per_rank;
  state.instruction_set = HardwareModel(device_);
  state.config_hash = context_.config_hash;
  state.build_id = std::string(BuildId());
  return state;
}

// The file's time says that this rank is alive.
void TrainingRun::Beat() const {
  const std::string path = context_.folder.HeartbeatPath(collective_->rank());
  if (::utimensat(AT_FDCWD, path.c_str(), nullptr, 0) != 0) (void)WriteFileAtomically(path, "");
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
