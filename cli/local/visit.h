// The coordinator of an `entrain local` that has ended, started again for as long as one command reads from it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "cli/interrupts.h"
#include "cli/local/children.h"
#include "cli/local/folder.h"

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

}  // namespace entrain::cli::local
