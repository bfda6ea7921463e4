#include "cli/follower.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/clock.h"

namespace entrain::cli {
namespace {

// What a restart or a lost connection looks like; anything else is an answer.
bool MayComeBack(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsInternal(status) ||
         absl::IsUnknown(status) || absl::IsAborted(status) || absl::IsCancelled(status) || absl::IsResourceExhausted(status);
}

view::RunView ToView(const v1::RunSummary& run) {
  view::RunView shown;
  shown.id = run.id();
  shown.label = run.label();
  shown.state = domain::ParseRunState(run.state()).value_or(domain::RunState::kQueued);
  shown.halt_reason = domain::ParseHaltReason(run.halt_reason()).value_or(domain::HaltReason::kNone);
  shown.reason = run.reason();
  shown.never_placeable = run.never_placeable();
  shown.attempt = run.attempt();
  shown.step = run.step();
  shown.steps = run.steps();
  shown.tokens = run.tokens();
  shown.eta_ms = run.eta_ms();
  shown.loss = run.loss();
  shown.eval_loss = run.eval_loss();
  shown.tokens_per_second = run.tokens_per_second();
  shown.n_layer = run.n_layer();
  shown.n_head = run.n_head();
  shown.entropy_fraction.assign(run.entropy_fraction().begin(), run.entropy_fraction().end());
  return shown;
}

}  // namespace

view::SweepView ToView(const v1::WatchUpdate& update) {
  view::SweepView shown;
  shown.id = update.sweep().summary().id();
  shown.name = update.sweep().summary().name();
  shown.finished = update.sweep().summary().finished();
  for (const v1::RunSummary& run : update.sweep().runs()) shown.runs.push_back(ToView(run));
  for (const v1::WorkerSummary& worker : update.workers()) {
    if (worker.state() == "silent") continue;
    ++shown.workers;
    shown.slots += worker.slots();
    shown.slots_used += worker.slots_used();
  }
  return shown;
}

Follower::Follower(Client* client, std::string sweep)
    : client_(client), sweep_(std::move(sweep)), thread_([this] { Run(); }) {}

Follower::~Follower() { End(); }

void Follower::End() {
  stop_.Stop();
  if (thread_.joinable()) thread_.join();
}

Follower::News Follower::Latest() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  News news = news_;
  if (news.away) news.away_ms = SystemClock().BootMs() - away_since_ms_;
  return news;
}

void Follower::Run() {
  for (int attempt = 0; !stop_.stopped(); ++attempt) {
    const absl::Status status = client_->Watch(sweep_, &stop_, [&](const v1::WatchUpdate& update) {
      const std::lock_guard<std::mutex> lock(mutex_);
      attempt = 0;
      sweep_ = update.sweep().summary().id();
      news_.update = update;
      news_.any = true;
      news_.away = false;
    });
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      news_.finished = news_.any && news_.update.sweep().summary().finished();
      if (stop_.stopped() || news_.finished) return;
      if (!status.ok() && !MayComeBack(status)) {
        news_.refused = status;
        return;
      }
      if (!status.ok() && !news_.away) {
        news_.away = true;
        away_since_ms_ = SystemClock().BootMs();
      }
    }
    if (!Pause(attempt)) return;
  }
}

bool Follower::Pause(int attempt) {
  // Short slices, so that End is not kept waiting.
  const int slices = std::min(1 + attempt, 10);
  for (int i = 0; i < slices && !stop_.stopped(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(100));
  return !stop_.stopped();
}

}  // namespace entrain::cli
