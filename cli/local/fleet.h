// One coordinator and one worker on this machine, as `entrain local` keeps them: started in order, started again on the same ports when
// they die, ended in order so that every run is checkpointed.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/interrupts.h"
#include "cli/local/children.h"
#include "cli/local/folder.h"

namespace entrain::cli::local {

class Fleet {
 public:
  // Tells what is going on, about four times a second while something takes time.
  using Tell = std::function<void(const std::string& note)>;

  Fleet(const Folder* folder, std::string slots, const Clock* clock, const Interrupts* interrupts);

  // Waits for the children of an `entrain local` that was killed, then starts both and learns their addresses. CANCELLED when a
  // signal came meanwhile.
  absl::Status Start(const Tell& tell);
  // Starts what died again. `note` says so; it stays untouched when nothing happened. An error when one cannot be kept alive.
  absl::Status Tend(std::string* note);
  // The worker first: it checkpoints every gang and ends; then the coordinator. Another signal ends gangs without a checkpoint, a third
  // one kills. `runs_go_on` says whether there is anything to checkpoint, for the words.
  void End(bool runs_go_on, const Tell& tell);

  const std::string& coordinator_address() const { return coordinator_.address; }
  // "metrics HOST:PORT (coordinator), HOST:PORT (worker)".
  std::string MetricsText() const;

 private:
  struct Member {
    Child child;
    std::string program;
    std::string address;          // the coordinator's only
    std::string metrics_address;
    RestartPolicy restarts;
    std::int64_t started_ms = 0;
    std::int64_t start_again_ms = -1;  // -1: not due
  };
  std::vector<std::string> CommandOf(const Member& member) const;
  absl::Status StartMember(Member* member);
  absl::Status TendMember(Member* member, std::string* note);
  absl::Status AwaitAddresses(Member* member, const Tell& tell);
  // Waits for a child's end while telling; false when it does not come within the time.
  bool AwaitEnd(Member* member, const Tell& tell, const std::string& what, std::int64_t timeout_ms, int* signals);
  absl::Status AwaitPredecessors(const Tell& tell);
  absl::Status RecordChildren() const;
  void EndRemainingGangs() const;

  const Folder* folder_;
  std::string slots_;
  const Clock* clock_;
  const Interrupts* interrupts_;
  Member coordinator_;
  Member worker_;
};

}  // namespace entrain::cli::local
