#include "cli/watching.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <string_view>

#include "base/clock.h"
#include "base/strings.h"
#include "cli/exit_code.h"
#include "cli/format.h"
#include "cli/view/live_view.h"
#include "cli/view/plain_lines.h"

namespace entrain::cli {
namespace {

constexpr std::int64_t kFrameMs = 250;

}  // namespace

Display::Display(bool quiet, const std::string& by) : quiet_(quiet), by_(by) {
  if (!quiet_ && ::isatty(STDOUT_FILENO) != 0) painter_ = std::make_unique<view::Painter>(STDOUT_FILENO);
}

void Display::TakeKeys(Client* client, bool leaving_ends_runs) {
  if (painter_ == nullptr || ::isatty(STDIN_FILENO) == 0) return;
  const char* terminal = std::getenv("TERM");
  if (terminal == nullptr || std::string_view(terminal) == "dumb") return;
  painter_.reset();
  screen_ = std::make_unique<LiveScreen>(client, by_, leaving_ends_runs);
}

int Display::Wait(const Interrupts& interrupts, std::int64_t timeout_ms) {
  return screen_ != nullptr ? screen_->Wait(interrupts, timeout_ms) : interrupts.Wait(timeout_ms);
}

void Display::Show(const view::SweepView& sweep) {
  if (quiet_) return;
  view::SweepView now = sweep;
  now.note = note_;
  now.addresses = addresses_;
  if (screen_ != nullptr) {
    screen_->Show(now);
    return;
  }
  if (painter_ != nullptr) {
    const view::TerminalSize size = view::SizeOf(STDOUT_FILENO);
    painter_->Draw(view::RenderLive(now, size.width, size.height - 1, ColourOf(STDOUT_FILENO)));
    return;
  }
  for (const std::string& line : view::ChangeLines(shown_, now)) std::printf("%s\n", line.c_str());
  std::fflush(stdout);
  shown_ = std::move(now);
}

std::string AwayNote(const Follower::News& news, const std::string& address) {
  if (!news.away) return "";
  return StrCat("coordinator ", address, " is away for ", FormatDuration(news.away_ms),
                "; running gangs train on, trying to reach it again");
}

WatchEnd WatchToEnd(Client* client, const std::string& sweep, Display* display, const Interrupts& interrupts,
                    std::int64_t timeout_ms, std::int64_t patience_ms) {
  const SystemClock clock;
  const std::int64_t begin_ms = clock.BootMs();
  Follower follower(client, sweep);
  WatchEnd end;
  bool keys_taken = false;
  for (;;) {
    const Follower::News news = follower.Latest();
    // The first answer decides whether there is anything to take the terminal over for.
    if (news.any && !keys_taken) display->TakeKeys(client, false);
    keys_taken |= news.any;
    if (news.any) {
      display->set_note(AwayNote(news, client->address()));
      display->Show(ToView(news.update));
      end.sweep = news.update.sweep();
    }
    if (!news.refused.ok()) {
      end.status = news.refused;
      return end;
    }
    if (news.finished) {
      end.finished = true;
      return end;
    }
    const std::int64_t elapsed_ms = clock.BootMs() - begin_ms;
    if (!news.any && news.away && elapsed_ms >= patience_ms) {
      end.status = absl::UnavailableError(StrCat("coordinator ", client->address(), " cannot be reached"));
      return end;
    }
    if (timeout_ms > 0 && elapsed_ms >= timeout_ms) {
      end.timed_out = true;
      return end;
    }
    const int signal = display->Wait(interrupts, news.any ? kFrameMs : 20);
    if (signal == SIGINT || signal == SIGTERM || signal == SIGHUP) {
      end.signal = signal;
      return end;
    }
  }
}

int ExitCodeOfSweep(const v1::Sweep& sweep) {
  std::map<std::string, const v1::RunSummary*> newest;
  for (const v1::RunSummary& run : sweep.runs()) {
    const v1::RunSummary*& known = newest[run.cell_id()];
    if (known == nullptr || run.generation() > known->generation()) known = &run;
  }
  std::vector<domain::RunState> states;
  for (const auto& [cell, run] : newest) {
    states.push_back(domain::ParseRunState(run->state()).value_or(domain::RunState::kFailed));
  }
  return ExitCodeOf(states);
}

}  // namespace entrain::cli
