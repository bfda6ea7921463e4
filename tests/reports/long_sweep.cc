#include "tests/reports/long_sweep.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace entrain::reports {
namespace {

constexpr std::int64_t kPage = 1'000;

absl::Status WriteRun(store::Store* store, const RunData& run) {
  const RunId id(run.id);
  ENTRAIN_RETURN_IF_ERROR(store->BeginAttempt(id, 1, 0));
  std::vector<store::StoredSample> page;
  for (const domain::EntropySample& sample : run.samples) {
    page.push_back({1, sample});
    if (static_cast<std::int64_t>(page.size()) < kPage && &sample != &run.samples.back()) continue;
    ENTRAIN_RETURN_IF_ERROR(store->AppendSamples(id, run.context, page, {}));
    page.clear();
  }
  std::vector<store::StoredEvaluation> evaluations;
  for (const domain::Evaluation& evaluation : run.evaluations) evaluations.push_back({1, evaluation});
  return store->AppendSamples(id, run.context, {}, evaluations);
}

// The first, the last, and every n-th between, as FetchSamples sends them.
absl::Status ReadRun(store::Store* store, std::int64_t every, RunData* run) {
  const RunId id(run->id);
  for (std::int64_t after = 0;;) {
    ENTRAIN_ASSIGN_OR_RETURN(auto page, store->ReadSamples(id, run->context, after, kPage));
    const bool last_page = static_cast<std::int64_t>(page.size()) < kPage;
    if (!page.empty()) after = page.back().sample.step;
    for (std::size_t i = 0; i < page.size(); ++i) {
      const std::int64_t step = page[i].sample.step;
      if (step == 1 || step % every == 0 || (last_page && i + 1 == page.size())) run->samples.push_back(std::move(page[i].sample));
    }
    if (last_page) break;
  }
  ENTRAIN_ASSIGN_OR_RETURN(const auto evaluations, store->ReadEvaluations(id));
  for (const store::StoredEvaluation& stored : evaluations) run->evaluations.push_back(stored.evaluation);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SweepData> SweepThroughStore(store::Store* store, const SampleShape& shape, int runs, std::int64_t samples_a_run) {
  SweepData sweep = MakeSampleHead();
  for (int i = 0; i < runs; ++i) {
    const auto variant = static_cast<std::size_t>(i) % SampleVariants();
    RunData run = MakeSampleRun(shape, variant, 1 + i / static_cast<int>(SampleVariants()));
    ENTRAIN_RETURN_IF_ERROR(WriteRun(store, run));
    // Swapped with empty ones: the memory of a hundred such runs is what the store spares.
    std::vector<domain::EntropySample>().swap(run.samples);
    run.evaluations.clear();
    ENTRAIN_RETURN_IF_ERROR(ReadRun(store, std::max<std::int64_t>(1, run.steps / samples_a_run), &run));
    sweep.runs.push_back(std::move(run));
  }
  return sweep;
}

}  // namespace entrain::reports
