#include <algorithm>
#include <limits>
#include <map>
#include <mutex>

#include "coordinator/store/current_steps.h"
#include "coordinator/store/store.h"

namespace entrain::store {
namespace {

// Keeps what SQLite would keep, as long as the object lives.
class MemoryStore : public Store {
 public:
  absl::Status Commit(const std::vector<domain::Event>& events, const std::vector<domain::Fact>& facts) override {
    const auto facts_before = static_cast<std::int64_t>(facts_.size());
    for (const domain::Fact& fact : facts) {
      if (!domain::IsTransient(fact)) facts_.push_back(fact);
    }
    for (const domain::Event& event : events) {
      events_.emplace_back(event, facts_before);
      last_event_ms_ = std::max(last_event_ms_, event.at_ms);
    }
    return absl::OkStatus();
  }

  absl::Status Replay(const std::function<void(domain::Fact)>& apply) override {
    for (const domain::Fact& fact : snapshot_) apply(fact);
    for (std::size_t i = snapshot_through_; i < facts_.size(); ++i) apply(facts_[i]);
    return absl::OkStatus();
  }

  absl::Status WriteSnapshot(const std::vector<domain::Fact>& facts) override {
    snapshot_.clear();
    std::copy_if(facts.begin(), facts.end(), std::back_inserter(snapshot_), [](const auto& fact) { return !IsTransient(fact); });
    snapshot_through_ = facts_.size();
    return absl::OkStatus();
  }

  std::int64_t FactsSinceSnapshot() override { return static_cast<std::int64_t>(facts_.size() - snapshot_through_); }

  absl::Status ReplayEvents(const std::function<void(const domain::Event&, std::int64_t)>& visit) override {
    for (const auto& [event, facts_before] : events_) visit(event, facts_before);
    return absl::OkStatus();
  }

  absl::StatusOr<std::int64_t> LastEventMs() override { return last_event_ms_; }

  absl::Status AppendSamples(const RunId& run, std::int64_t context, const std::vector<StoredSample>& samples,
                             const std::vector<StoredEvaluation>& evaluations) override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (StoredSample stored : samples) {
      stored.sample.entropy_nats = AsStored(stored.sample.entropy_nats, context);
      runs_[run].samples.try_emplace({stored.attempt, stored.sample.step}, std::move(stored));
    }
    for (const StoredEvaluation& stored : evaluations) {
      runs_[run].evaluations.try_emplace({stored.attempt, stored.evaluation.step}, stored);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<StoredSample>> ReadSamples(const RunId& run, std::int64_t /*context*/, std::int64_t after_step,
                                                        std::int64_t limit) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<StoredSample> found;
    for (const StepRange& range : CurrentRanges(runs_[run].attempts)) {
      const auto& samples = runs_[run].samples;
      auto at = samples.upper_bound({range.attempt, std::max(range.after, after_step)});
      const auto end = samples.upper_bound({range.attempt, range.through});
      for (; at != end && static_cast<std::int64_t>(found.size()) < limit && at->first.first == range.attempt; ++at) {
        if (at->first.second > range.through) break;
        found.push_back(at->second);
      }
    }
    return found;
  }

  absl::StatusOr<std::optional<StoredSample>> ReadLastSample(const RunId& run, std::int64_t context,
                                                             std::int64_t through_step) override {
    absl::StatusOr<std::vector<StoredSample>> all = ReadSamples(run, context, 0, std::numeric_limits<std::int64_t>::max());
    while (!all->empty() && all->back().sample.step > through_step) all->pop_back();
    if (all->empty()) return std::optional<StoredSample>();
    return std::optional<StoredSample>(std::move(all->back()));
  }

  absl::StatusOr<std::vector<StoredEvaluation>> ReadEvaluations(const RunId& run) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<StoredEvaluation> found;
    for (const StepRange& range : CurrentRanges(runs_[run].attempts)) {
      for (const auto& [key, stored] : runs_[run].evaluations) {
        const bool inside = key.second > range.after || (range.after == 0 && key.second == 0);
        if (key.first == range.attempt && inside && key.second <= range.through) found.push_back(stored);
      }
    }
    return found;
  }

  absl::Status BeginAttempt(const RunId& run, AttemptNumber attempt, std::int64_t resume_step) override {
    std::lock_guard<std::mutex> lock(mutex_);
    runs_[run].attempts[attempt] = resume_step;
    return absl::OkStatus();
  }

  absl::StatusOr<std::int64_t> ThinSamples(const RunId& run, std::int64_t every, const std::vector<std::int64_t>& steps,
                                           std::int64_t wall_ms) override {
    std::lock_guard<std::mutex> lock(mutex_);
    RunData& data = runs_[run];
    data.thinned = {every, wall_ms};
    const std::vector<StepRange> ranges = CurrentRanges(data.attempts);
    return static_cast<std::int64_t>(std::erase_if(data.samples, [&](const auto& entry) {
      const auto& [attempt, step] = entry.first;
      const bool current = std::any_of(ranges.begin(), ranges.end(), [&, a = attempt, s = step](const StepRange& range) {
        return range.attempt == a && s > range.after && s <= range.through;
      });
      return !current || (step % every != 0 && !std::binary_search(steps.begin(), steps.end(), step));
    }));
  }

  absl::StatusOr<Thinned> ThinnedBy(const RunId& run) override {
    std::lock_guard<std::mutex> lock(mutex_);
    return runs_[run].thinned;
  }

  absl::StatusOr<std::map<RunId, Usage>> ReadUsage() override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::map<RunId, Usage> usage;
    for (const auto& [id, data] : runs_) {
      Usage& of = usage[id];
      of.samples = static_cast<std::int64_t>(data.samples.size());
      for (const auto& [key, stored] : data.samples) of.sample_bytes += static_cast<std::int64_t>(stored.sample.entropy_nats.size() * 2);
      for (const Line& line : data.log) of.log_bytes += static_cast<std::int64_t>(line.text.size());
    }
    return usage;
  }

  absl::StatusOr<std::int64_t> TrimLog(const RunId& run, std::int64_t keep_bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Line>& log = runs_[run].log;
    std::int64_t bytes = 0;
    auto kept = log.end();
    while (kept != log.begin() && (kept == log.end() || bytes + static_cast<std::int64_t>(std::prev(kept)->text.size()) <= keep_bytes)) {
      bytes += static_cast<std::int64_t>((--kept)->text.size());
    }
    const std::int64_t gone = kept - log.begin();
    log.erase(log.begin(), kept);
    return gone;
  }

  absl::Status AppendLog(const RunId& run, AttemptNumber attempt, const std::vector<std::string>& lines) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Line>& log = runs_[run].log;
    for (const std::string& text : lines) log.push_back({attempt, (log.empty() ? 0 : log.back().number) + 1, text});
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Line>> ReadLog(const RunId& run, AttemptNumber attempt, std::int64_t after,
                                            std::int64_t limit) override {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<Line> found;
    for (const Line& line : runs_[run].log) {
      if (static_cast<std::int64_t>(found.size()) == limit) break;
      if (line.number > after && (attempt == 0 || line.attempt == attempt)) found.push_back(line);
    }
    return found;
  }

 private:
  using Key = std::pair<AttemptNumber, std::int64_t>;
  struct RunData {
    std::map<AttemptNumber, std::int64_t> attempts;
    std::map<Key, StoredSample> samples;
    std::map<Key, StoredEvaluation> evaluations;
    std::vector<Line> log;
    Thinned thinned;
  };

  std::vector<domain::Fact> facts_;
  std::vector<domain::Fact> snapshot_;
  std::size_t snapshot_through_ = 0;
  std::vector<std::pair<domain::Event, std::int64_t>> events_;
  std::int64_t last_event_ms_ = 0;
  std::mutex mutex_;
  std::map<RunId, RunData> runs_;
};

}  // namespace

std::unique_ptr<Store> MakeMemoryStore() { return std::make_unique<MemoryStore>(); }

}  // namespace entrain::store
