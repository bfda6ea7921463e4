#include "coordinator/server/retention_keeper.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "artifacts/artifact_store.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::server {
namespace {

using retention::PassItem;
using retention::PassReport;

// The core decides within milliseconds; whatever it has not taken off a list by then waits for the next pass.
constexpr int kAwaitRounds = 100;
constexpr std::int64_t kAwaitMs = 20;

const domain::Checkpoint* FindCheckpoint(const core::Run& run, const domain::CheckpointRef& ref) {
  const auto found = std::find_if(run.checkpoints.begin(), run.checkpoints.end(),
                                  [&](const domain::Checkpoint& c) { return c.attempt == ref.attempt && c.step == ref.step; });
  return found == run.checkpoints.end() ? nullptr : &*found;
}

// Whether a run names it now: a sweep may have been submitted since the root was looked at.
bool Names(const core::State& state, const std::string& dataset_path) {
  const std::string hash = dataset_path.substr(dataset_path.rfind('/') + 1);
  return std::any_of(state.runs.begin(), state.runs.end(), [&](const auto& entry) { return entry.second->spec->dataset.hash == hash; });
}

bool WantsUsage(const retention::Limits& limits) {
  return limits.thin_after_s > 0 || limits.sample_quota_bytes > 0 || limits.log_bytes_per_run > 0 || limits.log_quota_bytes > 0;
}

}  // namespace

RetentionKeeper::RetentionKeeper(RetentionParts parts, const retention::Limits& limits, std::int64_t interval_s)
    : parts_(std::move(parts)), limits_(limits) {
  if (interval_s > 0) thread_ = std::thread([this, interval_s] { Run(interval_s); });
}

RetentionKeeper::~RetentionKeeper() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void RetentionKeeper::Run(std::int64_t interval_s) {
  // Nothing goes in the first minutes, but how much there is is known.
  if (const auto seen = Pass(/*dry=*/true); !seen.ok()) Log(LogLevel::kWarning, "retention cannot look", {{"reason", std::string(seen.status().message())}});
  for (;;) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      if (changed_.wait_for(lock, std::chrono::seconds(interval_s), [this] { return ending_; })) return;
    }
    const absl::StatusOr<PassReport> report = Pass(/*dry=*/false);
    // Nothing is lost by keeping more.
    if (!report.ok()) Log(LogLevel::kWarning, "retention cannot go on", {{"reason", std::string(report.status().message())}});
  }
}

absl::StatusOr<PassReport> RetentionKeeper::Pass(bool dry) {
  std::lock_guard<std::mutex> lock(passing_);
  PassReport report;
  report.artifact_quota_bytes = limits_.artifact_quota_bytes;
  ENTRAIN_RETURN_IF_ERROR(Checkpoints(dry, &report));
  if (WantsUsage(limits_)) ENTRAIN_RETURN_IF_ERROR(Stored(dry, &report));
  return report;
}

absl::Status RetentionKeeper::Checkpoints(bool dry, PassReport* report) {
  if (!dry) ENTRAIN_RETURN_IF_ERROR(retention::EmptyTrash(parts_.root));
  const samples::PublishedState::View state = parts_.published->Get();
  const std::int64_t now_wall_ms = parts_.clock->WallMs();
  ENTRAIN_ASSIGN_OR_RETURN(const retention::RootContents contents,
                           retention::SweepRoot(parts_.root, *state, {limits_.orphan_grace_s, limits_.delete_datasets_after_s, parts_.owns_root}, now_wall_ms));
  report->artifact_bytes = contents.used_bytes;
  if (parts_.metrics != nullptr) parts_.metrics->SetArtifactBytes(contents.used_bytes);
  std::int64_t leaving = 0;
  for (const retention::Garbage& garbage : contents.garbage) leaving += garbage.due_in_s == 0 ? garbage.bytes : 0;
  const retention::JudgedStep judged = [this](const RunId& run) {
    const auto progress = parts_.lane->ProgressOf(run);
    return progress ? progress->latest.step : 0;
  };
  const retention::CheckpointPlan plan = retention::PlanCheckpoints(*state, limits_, now_wall_ms, contents.used_bytes, leaving, judged);
  if (!dry) {
    for (const SweepId& sweep : plan.release) ENTRAIN_RETURN_IF_ERROR(parts_.post(domain::ReleaseSweep{0, sweep, "retention"}));
    for (const domain::RetireCheckpoints& retire : plan.retire) ENTRAIN_RETURN_IF_ERROR(parts_.post(retire));
    AwaitRetired(plan);
    CountLimit("artifact_quota", plan.over_quota_bytes);
  }
  ENTRAIN_RETURN_IF_ERROR(CollectRetired(*state, plan, dry, report));
  return CollectGarbage(contents, dry, report);
}

void RetentionKeeper::AwaitRetired(const retention::CheckpointPlan& plan) {
  const auto listed = [&] {
    const samples::PublishedState::View state = parts_.published->Get();
    return std::any_of(plan.retire.begin(), plan.retire.end(), [&](const domain::RetireCheckpoints& retire) {
      const core::Run* run = state->FindRun(retire.run);
      return run != nullptr && std::any_of(retire.checkpoints.begin(), retire.checkpoints.end(),
                                           [&](const auto& ref) { return FindCheckpoint(*run, ref) != nullptr; });
    });
  };
  for (int round = 0; round < kAwaitRounds && listed(); ++round) parts_.published->Pause(kAwaitMs);
}

absl::Status RetentionKeeper::CollectRetired(const core::State& before, const retention::CheckpointPlan& plan, bool dry, PassReport* report) {
  const samples::PublishedState::View state = parts_.published->Get();
  for (const domain::RetireCheckpoints& retire : plan.retire) {
    for (const domain::CheckpointRef& ref : retire.checkpoints) {
      const domain::Checkpoint* checkpoint = FindCheckpoint(*before.FindRun(retire.run), ref);
      // The core kept it.
      if (!dry && FindCheckpoint(*state->FindRun(retire.run), ref) != nullptr) continue;
      // What a worker called a checkpoint, and is none.
      if (!checkpoint->path.starts_with("checkpoints/")) continue;
      ENTRAIN_RETURN_IF_ERROR(CollectOne({"checkpoint", checkpoint->path, checkpoint->bytes, retire.reason}, dry, report));
    }
  }
  return absl::OkStatus();
}

absl::Status RetentionKeeper::CollectGarbage(const retention::RootContents& contents, bool dry, PassReport* report) {
  for (const retention::Garbage& garbage : contents.garbage) {
    PassItem item{std::string(ToString(garbage.kind)), garbage.path, garbage.bytes, garbage.why, garbage.due_in_s};
    const bool wanted_again = garbage.kind == retention::GarbageKind::kDataset && Names(*parts_.published->Get(), garbage.path);
    if (garbage.due_in_s > 0) {
      report->items.push_back(std::move(item));
    } else if (!wanted_again) {
      ENTRAIN_RETURN_IF_ERROR(CollectOne(std::move(item), dry, report));
    }
  }
  return absl::OkStatus();
}

absl::Status RetentionKeeper::CollectOne(PassItem item, bool dry, PassReport* report) {
  if (!dry) {
    ENTRAIN_ASSIGN_OR_RETURN(item.deleted, retention::Collect(parts_.root, item.name, *parts_.pins));
    if (item.deleted) Note(item);
  }
  report->items.push_back(std::move(item));
  return absl::OkStatus();
}

absl::Status RetentionKeeper::Stored(bool dry, PassReport* report) {
  ENTRAIN_ASSIGN_OR_RETURN(const auto usage, parts_.store->ReadUsage());
  for (const auto& [run, of] : usage) {
    report->sample_bytes += of.sample_bytes;
    report->log_bytes += of.log_bytes;
  }
  const samples::PublishedState::View state = parts_.published->Get();
  retention::StoredPlan plan = retention::PlanStored(*state, limits_, parts_.clock->WallMs(), usage);
  for (retention::StoredPlan::Thin& thin : plan.thin) {
    PassItem item{"samples", thin.run.value(), thin.freed_bytes, StrCat(thin.why, "; one of ", thin.every, " stays")};
    if (!dry) ENTRAIN_RETURN_IF_ERROR(Thin(std::move(thin), &item));
    report->items.push_back(std::move(item));
  }
  for (const retention::StoredPlan::Trim& trim : plan.trim) {
    PassItem item{"log_lines", trim.run.value(), trim.freed_bytes, trim.why};
    if (!dry) {
      ENTRAIN_ASSIGN_OR_RETURN(item.count, parts_.store->TrimLog(trim.run, trim.keep_bytes));
      item.deleted = item.count > 0;
      if (item.deleted) Note(item);
    }
    report->items.push_back(std::move(item));
  }
  if (!dry) {
    CountLimit("sample_quota", plan.samples_over_bytes);
    CountLimit("log_quota", plan.logs_over_bytes);
  }
  return absl::OkStatus();
}

// The sample that the run's numbers are of stays: the last up to its result, and the last of all.
absl::Status RetentionKeeper::Thin(retention::StoredPlan::Thin thin, PassItem* item) {
  const samples::PublishedState::View state = parts_.published->Get();
  const core::Run* run = state->FindRun(thin.run);
  for (const std::int64_t through : {run->result_step, std::numeric_limits<std::int64_t>::max()}) {
    ENTRAIN_ASSIGN_OR_RETURN(const auto last, parts_.store->ReadLastSample(thin.run, run->spec->context, through));
    if (last.has_value()) thin.steps.push_back(last->sample.step);
  }
  std::sort(thin.steps.begin(), thin.steps.end());
  ENTRAIN_ASSIGN_OR_RETURN(item->count, parts_.store->ThinSamples(thin.run, thin.every, thin.steps, parts_.clock->WallMs()));
  item->deleted = true;
  Note(*item);
  return absl::OkStatus();
}

void RetentionKeeper::Note(const PassItem& item) {
  const auto checkpoint = artifacts::ParseCheckpointPath(item.name);
  const bool of_run = item.kind == "samples" || item.kind == "log_lines";
  Log(LogLevel::kInfo, "deleted by retention", {{"kind", item.kind}, {"name", item.name},
                                                {"run", of_run ? item.name : checkpoint ? checkpoint->key.run.value() : ""},
                                                {"attempt", checkpoint ? StrCat(checkpoint->key.attempt) : ""}, {"count", StrCat(item.count)},
                                                {"bytes", StrCat(item.bytes)}, {"reason", item.why}});
  if (parts_.metrics != nullptr) parts_.metrics->CountRetention(item.kind, item.count, item.bytes);
}

void RetentionKeeper::CountLimit(const std::string& limit, std::int64_t over_bytes) {
  if (over_bytes <= 0) return;
  Log(LogLevel::kWarning, "retention cannot keep a quota", {{"limit", limit}, {"over_bytes", StrCat(over_bytes)}});
  if (parts_.metrics != nullptr) parts_.metrics->CountLimitReached(limit);
}

}  // namespace entrain::server
