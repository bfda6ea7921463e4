// The coordinator of an `entrain local` that has ended, started again for as long as one command reads from it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/interrupts.h"
#include "cli/local/children.h"
#include "cli/local/folder.h"

namespace entrain::cli {
class Session;
}

namespace entrain::cli::local {

class Visit {
 public:
  // NOT_FOUND when no `entrain local` ever worked in `root`, FAILED_PRECONDITION when one works there now, CANCELLED after a signal.
  static absl::StatusOr<std::unique_ptr<Visit>> Start(const std::string& root, const Clock* clock, const Interrupts* interrupts);
  // Ends it.
  ~Visit();
  Visit(const Visit&) = delete;
  Visit& operator=(const Visit&) = delete;

  const std::string& address() const { return address_; }

 private:
  Visit(Folder folder, const Clock* clock, const Interrupts* interrupts);
  absl::Status AwaitAddress();

  Folder folder_;
  const Clock* clock_;
  const Interrupts* interrupts_;
  Child coordinator_;
  std::string address_;
};

// Lets the session speak to a coordinator that is named or runs in `root`; else to that of the `entrain local` that worked there, which is
// started; the visit must be kept until the command is done. Null where none was started: one may listen at the default address.
absl::StatusOr<std::unique_ptr<Visit>> VisitIfNeeded(Session* session, const std::string& root, const Clock* clock,
                                                     const Interrupts* interrupts);

}  // namespace entrain::cli::local
