#include "coordinator/rpc/caller.h"

#include <algorithm>

#include "artifacts/artifact_store.h"
#include "base/strings.h"

namespace entrain::rpc {
namespace {

using transport::Role;

std::string_view BareName(std::string_view method) { return method.substr(method.rfind('/') + 1); }

std::string NeedText(const MethodRule& rule) {
  if (!rule.role) return "a worker's certificate";
  return StrCat("a token of role ", ToString(*rule.role), *rule.role == Role::kAdmin ? "" : " or more", rule.workers ? ", or a worker's certificate" : "");
}

// Also one that is over and kept for people to see.
const core::Attempt* FindAnyAttempt(const core::State& state, const domain::AttemptKey& key) {
  if (const core::Attempt* attempt = state.FindAttempt(key)) return attempt;
  const core::Run* run = state.FindRun(key.run);
  if (run == nullptr) return nullptr;
  const auto past = std::find_if(run->past.begin(), run->past.end(), [&](const auto& attempt) { return attempt->key == key; });
  return past == run->past.end() ? nullptr : past->get();
}

bool BearsMember(const Caller& caller, const core::State& state, const core::Attempt& attempt) {
  return std::any_of(attempt.gang.members.begin(), attempt.gang.members.end(), [&](const domain::GangMember& member) {
    const core::Worker* worker = state.FindWorker(member.worker);
    return worker != nullptr && caller.certificate->Names(worker->info.name);
  });
}

bool HadRun(const Caller& caller, const core::State& state, const core::Run& run) {
  if (run.current != nullptr && BearsMember(caller, state, *run.current)) return true;
  return std::any_of(run.past.begin(), run.past.end(), [&](const auto& attempt) { return BearsMember(caller, state, *attempt); });
}

}  // namespace

std::string Caller::RoleText() const {
  if (kind == Kind::kWorker) return "worker";
  return role && kind != Kind::kLocal ? std::string(ToString(*role)) : "";
}

absl::Status MayCall(const Caller& caller, const MethodRule& rule) {
  const bool as_worker = rule.workers && (caller.kind == Caller::Kind::kWorker || caller.kind == Caller::Kind::kLocal);
  if (rule.anyone || as_worker || (rule.role && caller.role && *caller.role >= *rule.role)) return absl::OkStatus();
  const std::string needed = StrCat(BareName(rule.method), " needs ", NeedText(rule));
  if (caller.kind == Caller::Kind::kWorker) return absl::PermissionDeniedError(StrCat(needed, "; this certificate is the worker ", caller.name, "'s"));
  if (!caller.role) return absl::UnauthenticatedError(needed);
  return absl::PermissionDeniedError(StrCat(needed, "; ", caller.name, " has role ", ToString(*caller.role)));
}

absl::StatusOr<std::string> ActingName(const Caller& caller, const std::string& asked) {
  if (caller.kind == Caller::Kind::kLocal && caller.name.empty()) return asked;
  if (asked.empty() || asked == caller.name) return caller.name;
  if (caller.role == Role::kAdmin) return asked;
  return absl::PermissionDeniedError(StrCat(caller.name, " may not act as ", asked, ": that takes role admin"));
}

absl::Status MayActOn(const Caller& caller, const std::string& owner) {
  if (caller.role == Role::kAdmin || caller.name == owner) return absl::OkStatus();
  return absl::PermissionDeniedError(StrCat("this is ", owner, "'s; ", caller.name, " may act on his or her own only: another's takes role admin"));
}

absl::Status MayRegister(const Caller& caller, const core::State& state, const domain::WorkerInfo& info) {
  if (caller.kind != Caller::Kind::kWorker) return absl::OkStatus();
  if (!caller.certificate->Names(info.name)) {
    return absl::PermissionDeniedError(StrCat("the certificate of ", caller.name, " is not for a worker named ", info.name));
  }
  const core::Worker* known = state.FindWorker(info.id);
  if (known == nullptr || caller.certificate->Names(known->info.name)) return absl::OkStatus();
  return absl::PermissionDeniedError(StrCat("worker ", info.id.value(), " is ", known->info.name, ", which the certificate of ", caller.name, " does not name"));
}

absl::Status MayTouchAttempt(const Caller& caller, const core::State& state, const domain::AttemptKey& key) {
  if (caller.kind != Caller::Kind::kWorker) return absl::OkStatus();
  const core::Attempt* attempt = FindAnyAttempt(state, key);
  // What is not known is not stored either.
  if (attempt == nullptr || BearsMember(caller, state, *attempt)) return absl::OkStatus();
  return absl::PermissionDeniedError(StrCat("attempt ", key.attempt, " of run ", key.run.value(), " is not on worker ", caller.name));
}

absl::Status IsOfGang(const core::State& state, const WorkerId& worker, const domain::AttemptKey& key) {
  const core::Attempt* attempt = FindAnyAttempt(state, key);
  if (attempt == nullptr) return absl::OkStatus();
  const bool member = std::any_of(attempt->gang.members.begin(), attempt->gang.members.end(), [&](const auto& m) { return m.worker == worker; });
  if (member) return absl::OkStatus();
  return absl::PermissionDeniedError(StrCat("attempt ", key.attempt, " of run ", key.run.value(), " is not on worker ", worker.value()));
}

absl::Status MayRead(const Caller& caller, const core::State& state, std::string_view path) {
  if (caller.kind != Caller::Kind::kWorker || path.starts_with("datasets/")) return absl::OkStatus();
  const std::size_t step = path.find("/step-");
  const std::size_t end = step == std::string_view::npos ? path.size() : std::min(path.find('/', step + 1), path.size());
  const std::optional<artifacts::CheckpointName> name = artifacts::ParseCheckpointPath(path.substr(0, end));
  const core::Run* run = name ? state.FindRun(name->key.run) : nullptr;
  const core::Run* rescue = run == nullptr ? nullptr : state.FindRun(run->rescued_by);
  if (run != nullptr && (HadRun(caller, state, *run) || (rescue != nullptr && HadRun(caller, state, *rescue)))) return absl::OkStatus();
  return absl::PermissionDeniedError(StrCat(path, " is of no run that worker ", caller.name, " has"));
}

}  // namespace entrain::rpc
