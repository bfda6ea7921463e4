#include "coordinator/samples/sample_lane.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>

#include "base/overloaded.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::samples {
namespace {

// How many jobs pass between two looks for runs that are final and need no judge any more.
constexpr int kJobsBetweenSweeps = 512;

absl::Status CheckSize(std::string_view field, std::size_t size, std::int64_t expected, bool may_be_empty) {
  if (static_cast<std::int64_t>(size) == expected || (may_be_empty && size == 0)) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(field, " has ", size, " entries, the run has ", expected));
}

// What the run's configuration says about every sample.
absl::Status CheckShape(const domain::RunSpec& spec, const Batch& batch) {
  const std::int64_t heads = spec.n_layer * spec.n_head;
  std::int64_t last_step = 0;
  for (const domain::EntropySample& sample : batch.samples) {
    if (sample.step <= last_step || sample.step > spec.steps) {
      return absl::InvalidArgumentError(StrCat("sample.step ", sample.step, " after ", last_step, " in a run of ", spec.steps));
    }
    last_step = sample.step;
    ENTRAIN_RETURN_IF_ERROR(CheckSize("sample.entropy_nats", sample.entropy_nats.size(), heads, false));
    ENTRAIN_RETURN_IF_ERROR(CheckSize("sample.max_abs_score", sample.max_abs_score.size(), spec.n_layer, true));
    ENTRAIN_RETURN_IF_ERROR(CheckSize("sample.theta", sample.theta.size(), heads, true));
  }
  return absl::OkStatus();
}

}  // namespace

class SampleLane::Shard {
 public:
  Shard(SampleLane* lane, std::size_t max_waiting) : lane_(lane), max_waiting_(max_waiting), thread_([this] { Work(); }) {}
  ~Shard() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  // Waits for room; false when the lane ends.
  bool PushBatch(Batch batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || waiting_batches_ < max_waiting_; });
    if (stopping_) return false;
    ++waiting_batches_;
    jobs_.emplace_back(std::move(batch));
    changed_.notify_all();
    return true;
  }
  // The core's jobs are as many as its runs and never wait.
  template <typename Effect>
  void PushEffect(const Effect& effect) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      jobs_.emplace_back(effect);
    }
    changed_.notify_all();
  }

  std::optional<RunProgress> ProgressOf(const RunId& run) const {
    std::lock_guard<std::mutex> lock(progress_mutex_);
    const auto found = progress_.find(run);
    if (found == progress_.end()) return std::nullopt;
    return found->second;
  }

 private:
  using Job = std::variant<Batch, domain::BeginAttempt, domain::JudgeThrough>;

  void Work() {
    for (int jobs = 1;; ++jobs) {
      std::optional<Job> job = Next();
      if (!job) return;
      const absl::Status status = Do(*job);
      if (!status.ok()) {
        GiveUp();
        lane_->hooks_.fatal(status);
        return;
      }
      if (jobs % kJobsBetweenSweeps == 0) DropFinalRuns();
    }
  }

  // Nobody waits for a shard that judges no more.
  void GiveUp() {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }

  std::optional<Job> Next() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return std::nullopt;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    if (std::holds_alternative<Batch>(job)) --waiting_batches_;
    changed_.notify_all();
    return job;
  }

  absl::Status Do(const Job& job) {
    const RunId& run = std::visit(Overloaded{[](const auto& j) -> const RunId& { return j.key.run; }}, job);
    RunJudge* judge = JudgeOf(run);
    if (judge == nullptr) return absl::OkStatus();
    std::vector<EventBody> events;
    ENTRAIN_RETURN_IF_ERROR(std::visit(
        Overloaded{[&](const Batch& batch) {
                     return judge->Feed(batch.key.attempt, batch.samples, batch.evaluations, &events);
                   },
                   [&](const domain::BeginAttempt& begin) { return judge->Begin(begin.key.attempt, begin.resume_step, &events); },
                   [&](const domain::JudgeThrough& through) {
                     judge->JudgeThrough(through.key.attempt, through.last_step, &events);
                     return absl::OkStatus();
                   }},
        job));
    {
      std::lock_guard<std::mutex> lock(progress_mutex_);
      progress_[run] = judge->progress();
    }
    for (EventBody& event : events) lane_->hooks_.emit(std::move(event));
    return absl::OkStatus();
  }

  RunJudge* JudgeOf(const RunId& run) {
    const auto found = judges_.find(run);
    if (found != judges_.end()) return found->second.get();
    const PublishedState::View state = lane_->published_->Get();
    const core::Run* known = state->FindRun(run);
    if (known == nullptr || domain::IsFinal(known->state)) return nullptr;
    return judges_.emplace(run, std::make_unique<RunJudge>(run, known->spec, lane_->store_)).first->second.get();
  }

  // Memory follows the runs that live, not those that ever were.
  void DropFinalRuns() {
    const PublishedState::View state = lane_->published_->Get();
    std::lock_guard<std::mutex> lock(progress_mutex_);
    std::erase_if(judges_, [&](const auto& entry) {
      const core::Run* run = state->FindRun(entry.first);
      const bool over = run == nullptr || domain::IsFinal(run->state);
      if (over) progress_.erase(entry.first);
      return over;
    });
  }

  SampleLane* const lane_;
  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::size_t waiting_batches_ = 0;
  bool stopping_ = false;
  std::unordered_map<RunId, std::unique_ptr<RunJudge>> judges_;  // the thread's own
  mutable std::mutex progress_mutex_;
  std::unordered_map<RunId, RunProgress> progress_;
  std::thread thread_;
};

SampleLane::SampleLane(store::SampleStore* store, const PublishedState* published, LaneHooks hooks, const LaneOptions& options)
    : store_(store), published_(published), hooks_(std::move(hooks)) {
  for (int i = 0; i < options.shards; ++i) shards_.push_back(std::make_unique<Shard>(this, options.max_waiting_batches));
}

SampleLane::~SampleLane() = default;

SampleLane::Shard& SampleLane::ShardOf(const RunId& run) const { return *shards_[std::hash<RunId>()(run) % shards_.size()]; }

absl::StatusOr<Stored> SampleLane::Store(Batch batch) {
  const PublishedState::View state = published_->Get();
  const core::Run* run = state->FindRun(batch.key.run);
  if (run == nullptr || batch.key.attempt < run->attempt) return Stored::kFenced;
  if (batch.key.attempt > run->attempt) {
    return absl::FailedPreconditionError(StrCat("attempt ", batch.key.ToString(), " is not known, the newest is ", run->attempt));
  }
  ENTRAIN_RETURN_IF_ERROR(CheckShape(*run->spec, batch));

  const std::int64_t context = run->spec->context;
  std::vector<store::StoredSample> samples;
  samples.reserve(batch.samples.size());
  for (const domain::EntropySample& sample : batch.samples) samples.push_back({batch.key.attempt, sample});
  std::vector<store::StoredEvaluation> evaluations;
  for (const domain::Evaluation& evaluation : batch.evaluations) evaluations.push_back({batch.key.attempt, evaluation});
  ENTRAIN_RETURN_IF_ERROR(store_->AppendSamples(batch.key.run, context, samples, evaluations));
  if (hooks_.stored) hooks_.stored(static_cast<std::int64_t>(samples.size()));

  // Rules see what a replay will read, never the wire's values.
  for (domain::EntropySample& sample : batch.samples) sample.entropy_nats = store::AsStored(sample.entropy_nats, context);
  const RunId run_id = batch.key.run;
  ShardOf(run_id).PushBatch(std::move(batch));
  return Stored::kStored;
}

void SampleLane::Handle(const domain::BeginAttempt& effect) { ShardOf(effect.key.run).PushEffect(effect); }
void SampleLane::Handle(const domain::JudgeThrough& effect) { ShardOf(effect.key.run).PushEffect(effect); }
std::optional<RunProgress> SampleLane::ProgressOf(const RunId& run) const { return ShardOf(run).ProgressOf(run); }

}  // namespace entrain::samples
