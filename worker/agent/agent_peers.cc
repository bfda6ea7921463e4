// The daemon's part in gangs whose head is another worker: made ready, started and ended when that worker asks with a good token.
#include <signal.h>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "worker/agent/agent.h"
#include "worker/agent/peer_grant.h"
#include "worker/launcher/process.h"

namespace entrain::agent {
namespace {

using domain::AttemptEnd;
using domain::AttemptKey;
using domain::EndCause;

AttemptKey KeyOfLaunch(const v1::Launch& launch) { return {RunId(launch.key().run_id()), launch.key().attempt()}; }

v1::PrepareResponse ResponseOf(const AttemptEnd& end) {
  v1::PrepareResponse response;
  response.set_cause(std::string(domain::ToString(end.cause)));
  response.set_message(end.message);
  return response;
}

template <typename T>
void AnswerAll(std::vector<PeerAnswer<T>>* waiting, const absl::StatusOr<T>& answer) {
  for (const PeerAnswer<T>& answer_to : std::exchange(*waiting, {})) answer_to(answer);
}

// What a supervisor that ended the part saw; nothing when the part ended by itself or was ended.
void AddReason(const attempt::AttemptFolder& folder, v1::EndResponse* response) {
  const absl::StatusOr<launcher::SupervisorExit> exit = launcher::ReadSupervisorExit(folder);
  if (!exit.ok()) return;
  if (exit->reason == launcher::ExitReason::kRankFrozen) {
    response->set_cause(std::string(domain::ToString(EndCause::kCrashed)));
    response->set_message(exit->detail);
  } else if (exit->reason == launcher::ExitReason::kLinkLost || exit->reason == launcher::ExitReason::kDaemonAbsent) {
    response->set_cause(std::string(domain::ToString(EndCause::kMachineLost)));
    response->set_message(exit->detail.empty() ? "no worker daemon ran on this machine for too long" : exit->detail);
  }
}

v1::EndResponse LeftBy(const attempt::AttemptFolder& folder) {
  v1::EndResponse response;
  const absl::StatusOr<attempt::AttemptSpec> spec = folder.ReadSpec();
  if (!spec.ok()) return response;
  for (std::int64_t rank = spec->first_rank; rank < spec->first_rank + LocalRanks(*spec); ++rank) {
    const absl::StatusOr<std::optional<attempt::TerminalRecord>> record = folder.ReadTerminalRecord(rank);
    if (!record.ok() || !*record) continue;
    v1::EndResponse::RankRecord* left = response.add_records();
    left->set_rank(rank);
    left->set_cause(std::string(domain::ToString((*record)->cause)));
    left->set_step((*record)->step);
    left->set_message((*record)->message);
    left->set_loss((*record)->loss);
    left->set_tokens((*record)->tokens);
  }
  AddReason(folder, &response);
  return response;
}

}  // namespace

absl::Status Agent::ListenToPeers() {
  if (options_.peer_listen.empty()) return absl::OkStatus();
  ENTRAIN_ASSIGN_OR_RETURN(peer_server_, PeerServer::Start(options_.peer_listen, options_.tls, options_.self.id, MakePeerHandlers()));
  const std::string& listen = options_.peer_listen;
  peer_address_ = options_.peer_address.empty() ? listen.substr(0, listen.rfind(':')) : options_.peer_address;
  if (peer_address_.find(':') == std::string::npos) StrAppend(&peer_address_, ":", peer_server_->port());
  Log(LogLevel::kInfo, "serving other workers", {{"address", peer_address_}});
  return absl::OkStatus();
}

PeerHandlers Agent::MakePeerHandlers() {
  PeerHandlers handlers;
  handlers.prepare = [this, mailbox = mailbox_](const v1::Launch& launch, PeerAnswer<v1::PrepareResponse> answer) {
    mailbox->Post([this, launch, answer = std::move(answer)] { PreparePart(launch, answer); });
  };
  handlers.start_daemon = [this, mailbox = mailbox_](const v1::Launch& launch, const launcher::OrtedParameters& parameters,
                                                     PeerAnswer<v1::StartDaemonResponse> answer) {
    mailbox->Post([this, key = KeyOfLaunch(launch), parameters, answer = std::move(answer)] { StartPart(key, parameters, answer); });
  };
  handlers.end = [this, mailbox = mailbox_](const v1::Launch& launch, PeerAnswer<v1::EndResponse> answer) {
    mailbox->Post([this, key = KeyOfLaunch(launch), answer = std::move(answer)] { EndPart(key, answer); });
  };
  return handlers;
}

bool Agent::MayStartFor(const v1::Launch& launch, absl::Status* why_not) const {
  if (!core_.HoldsLease(Now())) {
    *why_not = absl::FailedPreconditionError("this worker's lease is over: its coordinator may have given the gang to others");
  } else if (launch.gang(PlaceInGang(launch, options_.self.id)).incarnation() < options_.first_number) {
    *why_not = absl::PermissionDeniedError("the token is older than this daemon");
  }
  return why_not->ok();
}

void Agent::PreparePart(const v1::Launch& launch, PeerAnswer<v1::PrepareResponse> answer) {
  const AttemptKey key = KeyOfLaunch(launch);
  absl::Status why_not;
  if (!MayStartFor(launch, &why_not)) return answer(why_not);
  LocalAttempt* local = Find(key);
  if (local == nullptr) {
    const absl::StatusOr<domain::LaunchAttempt> decoded = LaunchFromWire(launch, options_.self.id);
    if (!decoded.ok()) return answer(decoded.status());
    launches_[key] = launch;
    On(worker::Launched{*decoded});
    launches_.erase(key);
    local = Find(key);
    if (local == nullptr) {
      return answer(absl::FailedPreconditionError(StrCat("attempt ", key.ToString(), " is over or replaced, or this worker drains")));
    }
  } else if (local->phase == Phase::kPrepared) {
    return answer(v1::PrepareResponse());
  } else if (local->phase != Phase::kStarting || !local->member) {
    return answer(absl::FailedPreconditionError(StrCat("attempt ", key.ToString(), " was started here")));
  }
  local->await_prepared.push_back(std::move(answer));
}

void Agent::PartPrepared(const AttemptKey& key, const std::optional<AttemptEnd>& end) {
  LocalAttempt* local = Find(key);
  if (local == nullptr || local->phase != Phase::kStarting) return;
  local->phase = Phase::kPrepared;
  local->prepared_boot_ms = Now();
  if (!end && local->kill_reason.empty()) {
    AnswerAll<v1::PrepareResponse>(&local->await_prepared, v1::PrepareResponse());
    return;
  }
  AttemptEnd over = end.value_or(AttemptEnd{.cause = EndCause::kFenced, .message = local->kill_reason});
  AnswerAll<v1::PrepareResponse>(&local->await_prepared, ResponseOf(over));
  Closed(key, std::move(over));
}

void Agent::StartPart(const AttemptKey& key, const launcher::OrtedParameters& parameters, PeerAnswer<v1::StartDaemonResponse> answer) {
  LocalAttempt* local = Find(key);
  if (local == nullptr || !local->member || local->phase < Phase::kPrepared) {
    return answer(absl::FailedPreconditionError(StrCat("attempt ", key.ToString(), " is not prepared here")));
  }
  absl::Status why_not;
  if (!MayStartFor(local->launch, &why_not)) return answer(why_not);
  if (local->phase != Phase::kPrepared) return answer(absl::FailedPreconditionError(StrCat("attempt ", key.ToString(), " was started here")));
  local->phase = Phase::kStarting;
  tasks_->Add(key.ToString(), [this, mailbox = mailbox_, key, folder = local->folder, parameters, answer = std::move(answer)] {
    absl::Status status = launcher::WriteOrtedParameters(folder, parameters);
    if (status.ok()) status = launcher::StartSupervisor(folder.root(), options_.launch);
    std::optional<AttemptEnd> end;
    if (!status.ok()) end = AttemptEnd{.cause = EndCause::kLaunch, .message = std::string(status.message())};
    mailbox->Post([this, key, end, status, answer] {
      Started(key, end);
      if (status.ok()) answer(v1::StartDaemonResponse());
      else answer(status);
    });
  });
}

void Agent::EndPart(const AttemptKey& key, PeerAnswer<v1::EndResponse> answer) {
  LocalAttempt* local = Find(key);
  if (local == nullptr || !local->member) return answer(v1::EndResponse());
  local->ended_by_head = true;
  local->await_end.push_back(std::move(answer));
  if (local->phase == Phase::kEnded) return AnswerEnd(local);
  Do(worker::KillAttempt{key, "the gang's head ended it"});
}

void Agent::DropPrepared(LocalAttempt* local, EndCause cause, const std::string& why) {
  Closed(local->key, {.cause = cause, .message = why});
}

void Agent::AnswerEnd(LocalAttempt* local) {
  if (local->await_end.empty()) return;
  AnswerAll<v1::EndResponse>(&local->await_end, LeftBy(local->folder));
}

void Agent::StopRanks(LocalAttempt* local) {
  // Asked to terminate, one rank makes all of the gang stop at a checkpoint.
  const std::vector<pid_t> ranks = launcher::RankProcesses(local->folder.root());
  if (ranks.empty()) return;
  for (const pid_t rank : ranks) ::kill(rank, SIGTERM);
  local->stop.reset();
}

}  // namespace entrain::agent
