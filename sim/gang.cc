// The machine's gangs: what their processes do, with or without a daemon.
#include <algorithm>

#include "sim/machine.h"

namespace entrain::sim {

using domain::AttemptEnd;
using domain::AttemptKey;
using domain::EndCause;

void Machine::BeginGang(const AttemptKey& key) {
  Folder* folder = Find(key);
  if (folder == nullptr || folder->gang != Gang::kPreparing) return;
  if (folder->fate.cause == EndCause::kLaunch || folder->fate.cause == EndCause::kUserError) {
    return EndGang(folder, folder->fate.cause, "scripted");
  }
  folder->gang = Gang::kStarting;
  std::vector<std::int32_t> slots;
  for (const domain::GangMember& member : folder->launch.gang.members) {
    if (member.worker == info_.id) slots = member.slots;
  }
  referee_->GangBegan(info_.id, key, slots);
  stage_->timeline().After(stage_->Between(100, 1'500), [this, key, power = power_] {
    if (power == power_) ComeUp(key);
  });
}

void Machine::ComeUp(const AttemptKey& key) {
  Folder* folder = Find(key);
  if (folder == nullptr || folder->gang != Gang::kStarting) return;
  folder->gang = Gang::kUp;
  Train(key);
}

void Machine::Train(const AttemptKey& key) {
  Folder* folder = Find(key);
  if (folder == nullptr || folder->gang != Gang::kUp || folder->hangs) return;
  const domain::RunSpec& spec = *folder->launch.spec;
  // Several steps at a time, about half a second apart.
  for (std::int64_t trained_ms = 0; trained_ms < 500; trained_ms += folder->script.step_ms) {
    if (folder->step >= spec.steps) {
      if (folder->checkpoints.empty() || folder->checkpoints.back() < folder->step) folder->checkpoints.push_back(folder->step);
      return EndGang(folder, EndCause::kCompleted, "");
    }
    if (folder->fate.stalls_at_step > 0 && folder->step >= folder->fate.stalls_at_step) {
      stage_->Note(info_.id.value(), ": gang ", key.ToString(), " stalls at step ", folder->step);
      folder->hangs = true;
      return;
    }
    ++folder->step;
    if (folder->step == folder->script.non_finite_at_step) return EndGang(folder, EndCause::kNonFinite, "the loss is nan");
    if (folder->fate.cause != EndCause::kCompleted && folder->step >= folder->fate.at_step) {
      return EndGang(folder, folder->fate.cause, "scripted");
    }
    if (folder->step % folder->script.checkpoint_every_steps == 0) folder->checkpoints.push_back(folder->step);
  }
  const std::int64_t pause_ms = std::max<std::int64_t>(500, folder->script.step_ms);
  stage_->timeline().After(pause_ms, [this, key, power = power_] {
    if (power == power_) Train(key);
  });
}

bool Machine::trains() const {
  return std::any_of(folders_.begin(), folders_.end(), [](const auto& entry) { return entry.second.gang == Gang::kUp; });
}

void Machine::LosePartOn(const WorkerId& member) {
  for (auto& [key, folder] : folders_) {
    const auto& members = folder.launch.gang.members;
    const bool has_part = std::any_of(members.begin(), members.end(), [&](const auto& part) { return part.worker == member; });
    if (has_part && member != info_.id) LosePartOf(key);
  }
}

void Machine::LosePartOf(const AttemptKey& key) {
  Folder* folder = Find(key);
  if (folder == nullptr || (folder->gang != Gang::kStarting && folder->gang != Gang::kUp)) return;
  EndGang(folder, EndCause::kCrashed, "a rank on another machine is gone");
}

void Machine::EndGang(Folder* folder, EndCause cause, const std::string& message) {
  folder->gang = Gang::kGone;
  AttemptEnd end;
  end.cause = cause;
  end.last_step = folder->step;
  end.message = message;
  folder->record = end;
  referee_->GangEnded(info_.id, folder->launch.key);
  stage_->Note(info_.id.value(), ": gang ", folder->launch.key.ToString(), " ends, ", ToString(cause), " at step ", folder->step);
}

}  // namespace entrain::sim
