#include "worker/agent/gang_machines.h"

#include <unistd.h>

#include <filesystem>
#include <variant>

#include "base/files.h"
#include "base/log.h"
#include "base/strings.h"
#include "worker/agent/attempt_journal.h"
#include "worker/agent/launch_plan.h"
#include "worker/agent/peer_client.h"
#include "worker/agent/peer_grant.h"

namespace entrain::agent {
namespace {

using domain::AttemptEnd;
using domain::EndCause;

std::string GrantPath(const std::string& folder) { return launcher::RuntimePathsOf(folder, ::geteuid()).grant; }

// As if its ranks had run here.
void KeepRecords(const attempt::AttemptFolder& files, const v1::EndResponse& part) {
  for (const v1::EndResponse::RankRecord& record : part.records()) {
    attempt::TerminalRecord kept;
    kept.cause = domain::ParseEndCause(record.cause()).value_or(EndCause::kCrashed);
    kept.step = record.step();
    kept.message = record.message();
    kept.loss = record.loss();
    kept.tokens = record.tokens();
    files.WriteTerminalRecord(record.rank(), kept).IgnoreError();
  }
}

// What nobody here could say is said by the machine where it happened.
void Explain(const std::vector<PartEnd>& parts, AttemptEnd* end) {
  if (end->cause != EndCause::kCrashed && end->cause != EndCause::kLaunch) return;
  for (const PartEnd& part : parts) {
    if (!part.end.ok()) {
      end->cause = EndCause::kMachineLost;
      end->message = StrCat(part.worker, " does not answer: ", std::string(part.end.status().message()), "\n", end->message);
      return;
    }
    if (part.end->cause().empty()) continue;
    end->cause = domain::ParseEndCause(part.end->cause()).value_or(end->cause);
    end->message = StrCat(part.worker, ": ", part.end->message());
    return;
  }
}

// Ends the others' parts and brings home what their ranks left.
std::vector<PartEnd> EndMachines(const std::string& folder) {
  const absl::StatusOr<PeerClient> client = PeerClient::FromStored(GrantPath(folder));
  // Lost with the machine's memory: the others end without being told, as nobody of their gang answers.
  if (!client.ok()) return {};
  std::vector<PartEnd> parts = EndAll(*client);
  const attempt::AttemptFolder files(folder);
  for (const PartEnd& part : parts) {
    if (part.end.ok()) KeepRecords(files, *part.end);
    if (!part.end.ok()) Log(LogLevel::kWarning, "a part did not end", {{"worker", part.worker}, {"reason", std::string(part.end.status().message())}});
  }
  return parts;
}

}  // namespace

std::optional<AttemptEnd> MakeAttemptFolder(const v1::Launch& launch, const domain::WorkerInfo& self, const artifacts::ArtifactStore& store,
                                            const std::string& folder) {
  const attempt::AttemptFolder files(folder);
  if (files.ReadSpec().ok()) return std::nullopt;
  const std::variant<attempt::AttemptSpec, AttemptEnd> plan = PlanLaunch(launch, self, store, folder);
  if (const auto* end = std::get_if<AttemptEnd>(&plan)) return *end;
  absl::Status status = MakeFolders(folder);
  if (status.ok()) status = AttemptJournal(folder).WriteLaunch(launch);
  if (status.ok()) status = files.Create(std::get<attempt::AttemptSpec>(plan), launch.config_json());
  if (status.ok()) return std::nullopt;
  RemoveAttemptFolder(folder);
  return AttemptEnd{.cause = EndCause::kStorage, .message = std::string(status.message())};
}

void RemoveAttemptFolder(const std::string& folder) {
  launcher::KillGang(folder, 0).IgnoreError();
  std::error_code ignored;
  std::filesystem::remove(GrantPath(folder), ignored);
  std::filesystem::remove_all(folder, ignored);
}

std::optional<AttemptEnd> PrepareMachines(const v1::Launch& launch, const std::string& folder, const transport::TlsFiles& tls) {
  v1::PeerGrant grant;
  grant.set_launch(launch.signed_launch());
  grant.set_token(launch.peer_token());
  const absl::StatusOr<PeerClient> client = PeerClient::Make(grant, tls);
  if (!client.ok()) return AttemptEnd{.cause = EndCause::kLaunch, .message = std::string(client.status().message())};
  std::optional<AttemptEnd> end = PrepareAll(*client);
  if (!end) {
    const absl::Status stored = StoreGrant(GrantPath(folder), grant, tls);
    if (!stored.ok()) end = AttemptEnd{.cause = EndCause::kStorage, .message = std::string(stored.message())};
  }
  if (end) EndAll(*client);
  return end;
}

AttemptEnd CollectGangEnd(const std::string& folder, const launcher::Progress& progress) {
  const absl::StatusOr<attempt::AttemptSpec> spec = attempt::AttemptFolder(folder).ReadSpec();
  if (!spec.ok() || !SpansMachines(*spec) || IsMember(*spec)) return launcher::CollectEnd(folder, progress);
  // The ranks' own records of all machines first, then what the other supervisors saw.
  const std::vector<PartEnd> parts = EndMachines(folder);
  AttemptEnd end = launcher::CollectEnd(folder, progress);
  Explain(parts, &end);
  return end;
}

}  // namespace entrain::agent
