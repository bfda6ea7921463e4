#include "cli/local/fleet.h"

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <sstream>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/format.h"
#include "worker/launcher/launcher.h"
#include "worker/launcher/process.h"

namespace entrain::cli::local {
namespace {

constexpr std::int64_t kStartTimeoutMs = 60'000;
// A checkpoint of a large model on a slow disk; after it, people press Ctrl-C again.
constexpr std::int64_t kDrainTimeoutMs = 300'000;
constexpr std::int64_t kGangGraceMs = 2'000;
constexpr std::int64_t kHardEndTimeoutMs = 15'000;
constexpr std::int64_t kTickMs = 250;
// Enough for a worker to publish the checkpoint of a gang that just ended.
constexpr std::int64_t kPredecessorIdleMs = 3'000;
constexpr int kLogLinesShown = 8;
constexpr char kChildrenFile[] = "children";

bool AsksToEnd(int signal) { return signal == SIGINT || signal == SIGTERM || signal == SIGHUP; }

// What a child's address file says; empty before it is written.
std::string ReadAddress(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

bool AnyGang(const Folder& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder.Path("worker/attempts"), error)) {
    const absl::StatusOr<launcher::GangState> state = launcher::FindSupervisor(entry.path().string());
    if (state.ok() && *state == launcher::GangState::kRunning) return true;
  }
  return false;
}

absl::Status Died(const Child& child, const std::string& how) {
  const std::string tail = child.LogTail(kLogLinesShown);
  return absl::InternalError(StrCat("entrain-", child.name(), " ended with ", how, " (", child.log_path(), ")",
                                    tail.empty() ? "" : ":\n", tail));
}

}  // namespace

Fleet::Fleet(const Folder* folder, std::string slots, const Clock* clock, const Interrupts* interrupts)
    : folder_(folder),
      slots_(std::move(slots)),
      clock_(clock),
      interrupts_(interrupts),
      coordinator_{Child("coordinator", folder->Path("coordinator.log"), interrupts), {}, {}, {}, {}, 0, -1},
      worker_{Child("worker", folder->Path("worker.log"), interrupts), {}, {}, {}, {}, 0, -1} {}

std::string Fleet::MetricsText() const {
  return StrCat("metrics ", coordinator_.metrics_address, " (coordinator), ", worker_.metrics_address, " (worker)");
}

std::vector<std::string> Fleet::CommandOf(const Member& member) const {
  const auto or_any_port = [](const std::string& address) { return address.empty() ? std::string("127.0.0.1:0") : address; };
  const std::string metrics_file = folder_->Path(member.child.name() + ".metrics");
  if (&member == &coordinator_) {
    return {member.program,       "--data-dir",     folder_->Path("coordinator"),         "--listen",
            or_any_port(member.address), "--address-file", folder_->Path("coordinator.address"), "--metrics",
            or_any_port(member.metrics_address), "--metrics-address-file", metrics_file, "--artifacts",
            folder_->Path("artifacts")};
  }
  return {member.program, "--coordinator", coordinator_.address, "--dir", folder_->Path("worker"), "--artifacts",
          folder_->Path("artifacts"), "--slots", slots_, "--metrics", or_any_port(member.metrics_address),
          "--metrics-address-file", metrics_file, "--drain-limit-ms", StrCat(kDrainTimeoutMs)};
}

absl::Status Fleet::StartMember(Member* member) {
  ENTRAIN_RETURN_IF_ERROR(member->child.Start(CommandOf(*member)));
  member->started_ms = clock_->BootMs();
  member->start_again_ms = -1;
  return RecordChildren();
}

absl::Status Fleet::RecordChildren() const {
  std::string text;
  for (const Member* member : {&coordinator_, &worker_}) {
    if (!member->child.running()) continue;
    const launcher::ProcessIdentity identity = launcher::IdentityOf(member->child.pid());
    StrAppend(&text, member->child.name(), " ", identity.pid, " ", identity.start_ticks, " ", identity.boot_id, "\n");
  }
  return WriteFileAtomically(folder_->Path(kChildrenFile), text);
}

absl::Status Fleet::AwaitPredecessors(const Tell& tell) {
  const absl::StatusOr<std::string> text = ReadFile(folder_->Path(kChildrenFile));
  if (!text.ok()) return absl::IsNotFound(text.status()) ? absl::OkStatus() : text.status();
  std::istringstream lines(*text);
  std::string name;
  launcher::ProcessIdentity identity;
  while (lines >> name >> identity.pid >> identity.start_ticks >> identity.boot_id) {
    std::int64_t idle_since_ms = clock_->BootMs();
    while (launcher::IsAlive(identity)) {
      if (AnyGang(*folder_)) idle_since_ms = clock_->BootMs();
      // It has only reports left for a coordinator that is gone; the next worker sends them.
      if (clock_->BootMs() - idle_since_ms > kPredecessorIdleMs) launcher::SignalProcess(identity, SIGTERM);
      tell(StrCat("waiting for the ", name, " of an `entrain local` that was killed (process ", identity.pid,
                  ") to finish its checkpoints"));
      if (AsksToEnd(interrupts_->Wait(kTickMs))) return absl::CancelledError("interrupted");
    }
  }
  return absl::OkStatus();
}

absl::Status Fleet::AwaitAddresses(Member* member, const Tell& tell) {
  const std::string metrics_file = folder_->Path(member->child.name() + ".metrics");
  const std::int64_t deadline_ms = clock_->BootMs() + kStartTimeoutMs;
  for (;;) {
    member->metrics_address = ReadAddress(metrics_file);
    if (member == &coordinator_) member->address = ReadAddress(folder_->Path("coordinator.address"));
    const bool listening = member != &coordinator_ || !member->address.empty();
    if (listening && !member->metrics_address.empty()) return absl::OkStatus();
    std::string how;
    int exit_code = 0;
    if (member->child.Ended(&how, &exit_code)) return Died(member->child, how);
    if (clock_->BootMs() > deadline_ms) {
      return absl::DeadlineExceededError(StrCat("entrain-", member->child.name(), " did not come up within ", kStartTimeoutMs / 1000,
                                                " s; see ", member->child.log_path()));
    }
    tell(StrCat("starting the ", member->child.name()));
    if (AsksToEnd(interrupts_->Wait(20))) return absl::CancelledError("interrupted");
  }
}

absl::Status Fleet::Start(const Tell& tell) {
  ENTRAIN_ASSIGN_OR_RETURN(coordinator_.program, ProgramBeside("entrain-coordinator"));
  ENTRAIN_ASSIGN_OR_RETURN(worker_.program, ProgramBeside("entrain-worker"));
  ENTRAIN_RETURN_IF_ERROR(AwaitPredecessors(tell));
  // What a killed predecessor left would name ports where nobody listens.
  for (const char* stale : {"coordinator.address", "coordinator.metrics", "worker.metrics"}) ::unlink(folder_->Path(stale).c_str());
  for (Member* member : {&coordinator_, &worker_}) {
    ENTRAIN_RETURN_IF_ERROR(StartMember(member));
    ENTRAIN_RETURN_IF_ERROR(AwaitAddresses(member, tell));
  }
  return absl::OkStatus();
}

absl::Status Fleet::TendMember(Member* member, std::string* note) {
  const std::int64_t now_ms = clock_->BootMs();
  std::string how;
  int exit_code = 0;
  if (member->child.Ended(&how, &exit_code)) {
    member->start_again_ms = member->restarts.NextStartMs(member->started_ms, now_ms);
    if (member->start_again_ms < 0 || exit_code == 64) return Died(member->child, how);
    *note = StrCat("the ", member->child.name(), " ended with ", how, " and is started again; see ", member->child.log_path());
  }
  if (!member->child.running() && member->start_again_ms >= 0 && now_ms >= member->start_again_ms) return StartMember(member);
  return absl::OkStatus();
}

absl::Status Fleet::Tend(std::string* note) {
  ENTRAIN_RETURN_IF_ERROR(TendMember(&coordinator_, note));
  return TendMember(&worker_, note);
}

bool Fleet::AwaitEnd(Member* member, const Tell& tell, const std::string& what, std::int64_t timeout_ms, int* signals) {
  const std::int64_t begin_ms = clock_->BootMs();
  std::string how;
  int exit_code = 0;
  while (member->child.running() && !member->child.Ended(&how, &exit_code)) {
    const std::int64_t elapsed_ms = clock_->BootMs() - begin_ms;
    if (elapsed_ms > timeout_ms) return false;
    tell(StrCat(what, " (", FormatDuration(elapsed_ms), ")"));
    if (AsksToEnd(interrupts_->Wait(kTickMs))) {
      ++*signals;
      return false;
    }
  }
  return true;
}

void Fleet::EndRemainingGangs() const {
  // A worker that was killed, or left in a hurry, leaves its gangs to the next daemon; here nothing may stay behind.
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder_->Path("worker/attempts"), error)) {
    const std::string attempt = entry.path().string();
    const absl::StatusOr<launcher::GangState> state = launcher::FindSupervisor(attempt);
    if (state.ok() && *state == launcher::GangState::kRunning) {
      launcher::KillGang(attempt, kGangGraceMs).IgnoreError();
    }
  }
}

void Fleet::End(bool runs_go_on, const Tell& tell) {
  int signals = 0;
  worker_.child.Signal(SIGTERM);
  const std::string drain =
      runs_go_on ? "ending: the worker writes a checkpoint of every run; Ctrl-C again ends without" : "ending the worker";
  bool ended = AwaitEnd(&worker_, tell, drain, kDrainTimeoutMs, &signals);
  if (!ended) {
    worker_.child.Signal(SIGTERM);
    ended = AwaitEnd(&worker_, tell, "ending: the worker ends its gangs now, they will resume from their last checkpoints",
                     kHardEndTimeoutMs, &signals);
  }
  if (!ended) {
    worker_.child.Signal(SIGKILL);
    AwaitEnd(&worker_, tell, "ending: the worker was killed", kHardEndTimeoutMs, &signals);
  }
  EndRemainingGangs();
  coordinator_.child.Signal(SIGTERM);
  if (!AwaitEnd(&coordinator_, tell, "ending the coordinator", kHardEndTimeoutMs, &signals)) {
    coordinator_.child.Signal(SIGKILL);
    AwaitEnd(&coordinator_, tell, "ending: the coordinator was killed", kHardEndTimeoutMs, &signals);
  }
  ::unlink(folder_->Path(kChildrenFile).c_str());
}

}  // namespace entrain::cli::local
