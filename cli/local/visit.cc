#include "cli/local/visit.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/session.h"

namespace entrain::cli::local {
namespace {

constexpr std::int64_t kVisitStartTimeoutMs = 60'000;
constexpr std::int64_t kVisitEndTimeoutMs = 15'000;
constexpr std::int64_t kVisitTickMs = 20;
constexpr char kVisitAddress[] = "visit.address";

bool EndsVisit(int signal) { return signal == SIGINT || signal == SIGTERM || signal == SIGHUP; }

}  // namespace

Visit::Visit(Folder folder, const Clock* clock, const Interrupts* interrupts)
    : folder_(std::move(folder)),
      clock_(clock),
      interrupts_(interrupts),
      coordinator_("coordinator", folder_.Path("coordinator.log"), interrupts) {}

absl::StatusOr<std::unique_ptr<Visit>> Visit::Start(const std::string& root, const Clock* clock, const Interrupts* interrupts) {
  std::error_code error;
  if (!std::filesystem::is_directory(root + "/coordinator", error)) {
    return absl::NotFoundError(StrCat("no `entrain local` has worked in ", root));
  }
  ENTRAIN_ASSIGN_OR_RETURN(Folder folder, Folder::Open(root));
  auto visit = std::unique_ptr<Visit>(new Visit(std::move(folder), clock, interrupts));
  ENTRAIN_ASSIGN_OR_RETURN(const std::string program, ProgramBeside("entrain-coordinator"));
  const Folder& place = visit->folder_;
  ::unlink(place.Path(kVisitAddress).c_str());
  ENTRAIN_RETURN_IF_ERROR(visit->coordinator_.Start({program, "--data-dir", place.Path("coordinator"), "--listen", "127.0.0.1:0",
                                                     "--address-file", place.Path(kVisitAddress), "--metrics", "127.0.0.1:0",
                                                     "--artifacts", place.Path("artifacts")}));
  ENTRAIN_RETURN_IF_ERROR(visit->AwaitAddress());
  return visit;
}

absl::Status Visit::AwaitAddress() {
  const std::int64_t deadline_ms = clock_->BootMs() + kVisitStartTimeoutMs;
  for (;;) {
    const absl::StatusOr<std::string> text = ReadFile(folder_.Path(kVisitAddress));
    if (text.ok() && text->find('\n') != std::string::npos) {
      address_ = text->substr(0, text->find('\n'));
      return absl::OkStatus();
    }
    std::string how;
    int exit_code = 0;
    if (coordinator_.Ended(&how, &exit_code)) {
      return absl::InternalError(StrCat("entrain-coordinator ended with ", how, "; see ", coordinator_.log_path()));
    }
    if (clock_->BootMs() > deadline_ms) {
      return absl::DeadlineExceededError(StrCat("entrain-coordinator did not come up; see ", coordinator_.log_path()));
    }
    if (EndsVisit(interrupts_->Wait(kVisitTickMs))) return absl::CancelledError("interrupted");
  }
}

Visit::~Visit() {
  if (!coordinator_.running()) return;
  coordinator_.Signal(SIGTERM);
  const std::int64_t deadline_ms = clock_->BootMs() + kVisitEndTimeoutMs;
  std::string how;
  int exit_code = 0;
  while (!coordinator_.Ended(&how, &exit_code)) {
    if (clock_->BootMs() > deadline_ms) coordinator_.Signal(SIGKILL);
    interrupts_->Wait(kVisitTickMs);
  }
  ::unlink(folder_.Path(kVisitAddress).c_str());
}

absl::StatusOr<std::unique_ptr<Visit>> VisitIfNeeded(Session* session, const std::string& root, const Clock* clock,
                                                     const Interrupts* interrupts) {
  const bool named = !session->coordinator.empty() || std::getenv("ENTRAIN_COORDINATOR") != nullptr;
  if (named) return nullptr;
  session->coordinator = RunningCoordinator(root);
  if (!session->coordinator.empty()) return nullptr;
  auto visit = Visit::Start(root, clock, interrupts);
  if (absl::IsNotFound(visit.status())) return nullptr;
  if (visit.ok()) session->coordinator = (*visit)->address();
  return visit;
}

}  // namespace entrain::cli::local
