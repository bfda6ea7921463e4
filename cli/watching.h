// Shows a followed sweep until it ends: full-screen with keys on a terminal, in place where only the output is one, as lines elsewhere, not
// at all when told to be quiet.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "cli/follower.h"
#include "cli/interrupts.h"
#include "cli/live_screen.h"
#include "cli/view/painter.h"
#include "cli/view/sweep_view.h"

namespace entrain::cli {

// Where the view goes; one object draws one block.
class Display {
 public:
  // `quiet` shows nothing. Lines or the block go to standard output. `by`: who asks, Session::Asker().
  explicit Display(bool quiet, const std::string& by = "");
  // From now on keys act through `client`, which outlives this object, if standard input and output are terminals.
  void TakeKeys(Client* client, bool leaving_ends_runs);
  void Show(const view::SweepView& sweep);
  // Waits for a signal and returns it, or 0 after `timeout_ms`; acts on keys meanwhile. A person who leaves counts as SIGINT.
  int Wait(const Interrupts& interrupts, std::int64_t timeout_ms);
  // Shown with every frame; as a line of its own where there is no terminal.
  void set_note(std::string note) { note_ = std::move(note); }
  void set_addresses(std::string addresses) { addresses_ = std::move(addresses); }

 private:
  bool quiet_;
  const std::string by_;
  std::string note_;
  std::string addresses_;
  view::SweepView shown_;
  std::unique_ptr<view::Painter> painter_;  // null: lines, or the screen
  std::unique_ptr<LiveScreen> screen_;
};

struct WatchEnd {
  // OK: the sweep finished, or `signal` ended the watching, or time ran out.
  absl::Status status;
  bool finished = false;
  int signal = 0;
  bool timed_out = false;
  v1::Sweep sweep;
};

// Follows `sweep` to its end. Before the coordinator ever answered, an unreachable one ends it after `patience_ms`; afterwards it waits
// for its return. `timeout_ms` 0: no limit.
WatchEnd WatchToEnd(Client* client, const std::string& sweep, Display* display, const Interrupts& interrupts,
                    std::int64_t timeout_ms = 0, std::int64_t patience_ms = 2'000);

// "coordinator HOST:PORT is away for 12s, ..." while it is; empty otherwise.
std::string AwayNote(const Follower::News& news, const std::string& address);

// The exit code of a finished sweep; the newest generation of each cell counts.
int ExitCodeOfSweep(const v1::Sweep& sweep);

}  // namespace entrain::cli
