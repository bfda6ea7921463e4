#include "worker/agent/attempt_journal.h"

#include <cctype>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::agent {

std::string AttemptJournal::Path(std::string_view name) const { return StrCat(folder_, "/daemon/", name); }

absl::Status AttemptJournal::WriteLaunch(const v1::Launch& launch) const {
  ENTRAIN_RETURN_IF_ERROR(MakeFolders(folder_ + "/daemon"));
  v1::Launch kept = launch;
  kept.clear_signed_launch();
  kept.clear_peer_token();
  return WriteFileAtomically(Path("launch.pb"), kept.SerializeAsString());
}

absl::StatusOr<v1::Launch> AttemptJournal::ReadLaunch() const {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(Path("launch.pb")));
  v1::Launch launch;
  if (!launch.ParseFromString(bytes)) return absl::DataLossError(StrCat(Path("launch.pb"), " is damaged"));
  return launch;
}

absl::Status AttemptJournal::WriteDelivery(const Delivery& delivery) const {
  const std::string path = Path("delivered");
  const std::string temporary = path + ".tmp";
  std::ofstream file(temporary, std::ios::trunc);
  file << delivery.event_offset << ' ' << (delivery.ready ? 1 : 0) << ' ' << delivery.last_step << ' ' << delivery.log_offset << '\n';
  file.close();
  if (!file) return absl::UnavailableError(StrCat("write ", temporary, " failed"));
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  return error ? ErrnoStatus(error.value(), "rename", temporary) : absl::OkStatus();
}

Delivery AttemptJournal::ReadDelivery() const {
  const absl::StatusOr<std::string> text = ReadFile(Path("delivered"));
  if (!text.ok() || text->empty() || text->back() != '\n') return {};
  std::istringstream fields(*text);
  Delivery delivery;
  int ready = 0;
  fields >> delivery.event_offset >> ready >> delivery.last_step >> delivery.log_offset;
  if (!fields) return {};
  delivery.ready = ready != 0;
  return delivery;
}

absl::Status AttemptJournal::AddPublished(const domain::Checkpoint& checkpoint) const {
  const std::string path = Path("published");
  const absl::StatusOr<std::string> before = ReadFile(path);
  if (!before.ok() && !absl::IsNotFound(before.status())) return before.status();
  const std::string hash = checkpoint.hash.empty() ? "-" : checkpoint.hash;
  return WriteFileAtomically(path, StrCat(before.ok() ? *before : "", checkpoint.step, " ", checkpoint.bytes, " ", hash, " ",
                                          checkpoint.best_step, " ", checkpoint.path, "\n"));
}

std::vector<domain::Checkpoint> AttemptJournal::ReadPublished(AttemptNumber attempt) const {
  std::vector<domain::Checkpoint> published;
  const absl::StatusOr<std::string> text = ReadFile(Path("published"));
  if (!text.ok()) return published;
  std::istringstream lines(*text);
  domain::Checkpoint checkpoint;
  checkpoint.attempt = attempt;
  while (lines >> checkpoint.step >> checkpoint.bytes >> checkpoint.hash && lines.get() == ' ') {
    // Older folders lack the best step; a path never begins with a digit.
    checkpoint.best_step = 0;
    if (std::isdigit(lines.peek()) != 0 && !(lines >> checkpoint.best_step && lines.get() == ' ')) break;
    if (!std::getline(lines, checkpoint.path)) break;
    if (checkpoint.hash == "-") checkpoint.hash.clear();
    published.push_back(checkpoint);
  }
  return published;
}

}  // namespace entrain::agent
