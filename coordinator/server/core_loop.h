// The loop around the core: events -> Decide -> commit -> Apply -> publish -> effects out. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "base/clock.h"
#include "coordinator/core/core.h"
#include "coordinator/samples/published_state.h"
#include "coordinator/server/event_queue.h"
#include "coordinator/server/fact_counts.h"
#include "coordinator/server/journal_copy.h"
#include "coordinator/server/snapshots.h"
#include "coordinator/store/store.h"
#include "metrics/coordinator_metrics.h"

namespace entrain::server {

class CoreLoop {
 public:
  using EffectSink = std::function<void(const domain::Effect&)>;
  // `metrics` may be null.
  CoreLoop(store::Journal* journal, const core::CoreConfig& config, const Clock* clock, samples::PublishedState* published,
           metrics::CoordinatorMetrics* metrics, std::int64_t snapshot_every_facts = kSnapshotEveryFacts)
      : journal_(journal),
        clock_(clock),
        published_(published),
        metrics_(metrics),
        state_(config),
        snapshots_(journal, config, snapshot_every_facts) {}

  // Hears every fact once it is durable and published; on the loop's thread, so it must not block. Before Run.
  void OnFact(std::function<void(const domain::Fact&)> hook) { on_fact_ = std::move(hook); }

  // Rebuilds the state from the journal and publishes it.
  absl::Status Recover();
  // What the restart owes the sample lane; before Run.
  void SendRecoveryEffects(const EffectSink& sink);
  // Until the queue is closed and empty, which ends with a snapshot, or a commit fails: then nothing of that batch has left, and the
  // process must end.
  absl::Status Run(EventQueue* queue, const EffectSink& sink);
  // A copy of the journal while Run runs; from any other thread, which waits.
  absl::Status CopyJournal(const std::string& path) { return copy_.Make(path); }
  // One batch; Run's step.
  absl::Status Step(std::vector<EventBody> bodies, const EffectSink& sink);

 private:
  std::int64_t NowMs() const { return base_ms_ + clock_->BootMs() - boot_at_base_ms_; }
  absl::Status Loop(EventQueue* queue, const EffectSink& sink);
  absl::Status Commit(const std::vector<domain::Fact>& facts);
  void Count(const std::vector<domain::Fact>& facts);

  store::Journal* const journal_;
  const Clock* const clock_;
  samples::PublishedState* const published_;
  metrics::CoordinatorMetrics* const metrics_;
  std::function<void(const domain::Fact&)> on_fact_;
  core::State state_;
  Snapshots snapshots_;
  FactCounts counts_;
  JournalCopy copy_;
  // Coordinator time goes on from the last committed event.
  std::int64_t base_ms_ = 0;
  std::int64_t boot_at_base_ms_ = 0;
  // Events that changed something and are not stored yet: they go with the next durable facts.
  std::vector<domain::Event> unstored_events_;
};

}  // namespace entrain::server
