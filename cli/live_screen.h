// The full-screen view of a sweep on a terminal: draws it, acts on keys. Used by the main thread only.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "cli/client.h"
#include "cli/errands.h"
#include "cli/interrupts.h"
#include "cli/log_tail.h"
#include "cli/view/keys.h"
#include "cli/view/loss_history.h"
#include "cli/view/screen.h"
#include "cli/view/sweep_view.h"
#include "cli/view/terminal.h"
#include "cli/view/view_state.h"

namespace entrain::cli {

class LiveScreen {
 public:
  // Standard input and output are terminals; `client` outlives the screen. `by`: Session::Asker(). `leaving_ends_runs`: leaving is asked for first.
  LiveScreen(Client* client, const std::string& by, bool leaving_ends_runs);
  // Gives the terminal back, with the last frame of the runs on it.
  ~LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;

  void Show(const view::SweepView& sweep);
  // Acts on keys and changes of size until `timeout_ms` have passed or a signal that ends programs came; SIGINT when a person leaves, SIGHUP
  // when the terminal is gone.
  int Wait(const Interrupts& interrupts, std::int64_t timeout_ms);

 private:
  // What the errands' thread has brought.
  struct Inbox {
    std::mutex mutex;
    std::string message;
    std::vector<std::pair<std::string, std::vector<view::LossHistory::Point>>> losses;
  };
  void Draw();
  int Act(const std::vector<view::Key>& keys);
  int Do(const view::Command& command);
  void Tell(const view::Command& command);
  void FetchEarlierLosses();
  void TakeInbox();

  Client* client_;
  const std::string by_;
  view::SweepView sweep_;
  view::ViewState state_;
  view::LossHistory history_;
  view::KeyParser keys_;
  std::set<std::string> fetched_;
  Inbox inbox_;
  StreamStop stop_fetching_;
  std::unique_ptr<LogTail> log_;
  std::unique_ptr<view::Terminal> terminal_;
  std::unique_ptr<Errands> errands_;
};

}  // namespace entrain::cli
