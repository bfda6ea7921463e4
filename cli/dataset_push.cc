#include "cli/dataset_push.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "artifacts/transfer.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "cli/format.h"
#include "data/token_dataset.h"

namespace entrain::cli {
namespace {

class PushLine {
 public:
  PushLine(std::string name, bool silent) : name_(std::move(name)), on_(!silent && ::isatty(STDERR_FILENO) != 0) {}
  ~PushLine() {
    if (drawn_) std::fprintf(stderr, "\r\x1b[K");
  }
  void Draw(const artifacts::TransferProgress& progress) {
    const std::int64_t now_ms = SystemClock().BootMs();
    if (!on_ || now_ms - drawn_ms_ < 100) return;
    drawn_ms_ = now_ms;
    drawn_ = true;
    std::fprintf(stderr, "\r\x1b[Kpushing %s: %s of %s", Printable(name_).c_str(), FormatBytes(progress.bytes).c_str(),
                 FormatBytes(progress.total_bytes).c_str());
  }

 private:
  std::string name_;
  bool on_;
  bool drawn_ = false;
  std::int64_t drawn_ms_ = 0;
};

absl::Status AtCoordinator(const Session& session, const absl::Status& status) {
  if (!absl::IsUnavailable(status)) return status;
  return absl::UnavailableError(StrCat("coordinator ", session.CoordinatorAddress(), " cannot be reached: ", std::string(status.message())));
}

}  // namespace

absl::StatusOr<bool> PushWithProgress(Session* session, const domain::DatasetRef& ref, const std::string& dir) {
  ENTRAIN_ASSIGN_OR_RETURN(const data::TokenDataset dataset, data::TokenDataset::Open(dir));
  ENTRAIN_RETURN_IF_ERROR(dataset.Verify());
  PushLine line(ref.name, session->json());
  absl::StatusOr<bool> was_there = artifacts::PushDataset(session->client().channel(), ref.hash, dir,
                                                          [&](const artifacts::TransferProgress& at) { line.Draw(at); });
  if (!was_there.ok()) return AtCoordinator(*session, was_there.status());
  return was_there;
}

absl::Status PushIfMissing(Session* session, const domain::DatasetRef& ref, const std::string& artifacts) {
  const std::string dir = StrCat(artifacts, "/datasets/", ref.hash);
  std::error_code error;
  // A reference to something prepared elsewhere: the coordinator says whether it has it.
  if (!std::filesystem::exists(dir, error)) return absl::OkStatus();
  const absl::StatusOr<bool> has = artifacts::HasDataset(session->client().channel(), ref.hash);
  // A coordinator of an older build answers in its own way when the sweep is submitted.
  if (absl::IsUnimplemented(has.status())) return absl::OkStatus();
  if (!has.ok()) return AtCoordinator(*session, has.status());
  if (*has) return absl::OkStatus();
  return PushWithProgress(session, ref, dir).status();
}

}  // namespace entrain::cli
