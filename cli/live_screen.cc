#include "cli/live_screen.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/strings.h"
#include "cli/view/live_view.h"

namespace entrain::cli {
namespace {

using view::Command;

// Points that a sparkline can show, with room to spare.
constexpr std::int64_t kEarlierLosses = 200;
// A lone Escape is told from the beginning of a longer key by what does not follow.
constexpr std::int64_t kEscapeMs = 40;
constexpr int kTallFrame = 10'000;

bool Ends(int signal) { return signal == SIGINT || signal == SIGTERM || signal == SIGHUP; }

std::string RunsTold(int runs, std::string_view what) { return StrCat(runs, runs == 1 ? " run" : " runs", " told to ", what); }

}  // namespace

LiveScreen::LiveScreen(Client* client, const std::string& by, bool leaving_ends_runs) : client_(client), by_(by) {
  state_.leaving_ends_runs = leaving_ends_runs;
  terminal_ = std::make_unique<view::Terminal>(STDIN_FILENO, STDOUT_FILENO);
  errands_ = std::make_unique<Errands>();
}

LiveScreen::~LiveScreen() {
  terminal_.reset();
  if (!sweep_.id.empty()) {
    const view::TerminalSize size = view::SizeOf(STDOUT_FILENO);
    for (const std::string& line : view::RenderLive(sweep_, size.width, kTallFrame, ColourOf(STDOUT_FILENO))) std::printf("%s\n", line.c_str());
    std::fflush(stdout);
  }
  log_.reset();
  stop_fetching_.Stop();
}

void LiveScreen::Show(const view::SweepView& sweep) {
  sweep_ = sweep;
  history_.Note(sweep_);
  FetchEarlierLosses();
  const auto known = [&](const view::RunView& run) { return run.id == state_.selected; };
  // Pinned, so that a new order does not choose another run.
  if (!sweep_.runs.empty() && std::none_of(sweep_.runs.begin(), sweep_.runs.end(), known)) state_.selected = sweep_.runs.front().id;
  Draw();
}

void LiveScreen::Draw() {
  if (terminal_ == nullptr || sweep_.id.empty()) return;
  TakeInbox();
  const view::TerminalSize size = terminal_->size();
  terminal_->Draw(view::RenderScreen(sweep_, state_, history_, log_ == nullptr ? view::LogView{} : log_->Latest(), size.width,
                                     size.height, ColourOf(STDOUT_FILENO)));
}

int LiveScreen::Wait(const Interrupts& interrupts, std::int64_t timeout_ms) {
  const SystemClock clock;
  const std::int64_t deadline_ms = clock.BootMs() + timeout_ms;
  for (;;) {
    const std::int64_t left_ms = std::max<std::int64_t>(0, deadline_ms - clock.BootMs());
    const int signal = interrupts.Wait(keys_.pending() ? std::min(kEscapeMs, left_ms) : left_ms, terminal_->in_fd());
    if (Ends(signal)) return signal;
    bool ended = false;
    const bool escape_waits = keys_.pending();
    std::vector<view::Key> keys = keys_.Feed(terminal_->Read(&ended));
    if (ended) return SIGHUP;
    if (escape_waits && keys.empty()) keys = keys_.Settle();
    if (const int leave = Act(keys); leave != 0) return leave;
    if (signal == SIGWINCH || !keys.empty()) Draw();
    if (clock.BootMs() >= deadline_ms) return 0;
  }
}

int LiveScreen::Act(const std::vector<view::Key>& keys) {
  for (const view::Key& key : keys) {
    const int page_rows = view::PageRows(sweep_, state_, terminal_->size().height);
    if (const int leave = Do(view::OnKey(key, sweep_, page_rows, &state_)); leave != 0) return leave;
  }
  return 0;
}

int LiveScreen::Do(const Command& command) {
  switch (command.kind) {
    case Command::Kind::kNone: return 0;
    case Command::Kind::kLeave: return SIGINT;
    case Command::Kind::kSuspend: terminal_->Suspend(); return 0;
    case Command::Kind::kOpenLogs: log_ = std::make_unique<LogTail>(client_, command.id, command.name); return 0;
    case Command::Kind::kCloseLogs: log_.reset(); return 0;
    case Command::Kind::kStop:
    case Command::Kind::kPause:
    case Command::Kind::kResume: Tell(command); return 0;
  }
  return 0;
}

void LiveScreen::Tell(const Command& command) {
  const std::string_view what = command.kind == Command::Kind::kStop ? "stop" : command.kind == Command::Kind::kPause ? "pause" : "resume";
  state_.message = StrCat("asking to ", what, " ", command.name);
  errands_->Add(
      [this, command, what] {
        const absl::StatusOr<int> runs = command.kind == Command::Kind::kStop    ? client_->Stop(command.id, by_)
                                         : command.kind == Command::Kind::kPause ? client_->Pause(command.id, by_)
                                                                                 : client_->Resume(command.id, by_);
        const std::lock_guard<std::mutex> lock(inbox_.mutex);
        inbox_.message = StrCat(command.name, ": ", runs.ok() ? RunsTold(*runs, what) : std::string(runs.status().message()));
      },
      true);
}

void LiveScreen::FetchEarlierLosses() {
  for (const view::RunView& run : sweep_.runs) {
    if (run.step <= 1 || !fetched_.insert(run.id).second) continue;
    v1::FetchSamplesRequest request;
    request.set_run_id(run.id);
    request.set_every(static_cast<int>(std::max<std::int64_t>(1, run.step / kEarlierLosses)));
    errands_->Add([this, request] {
      std::vector<view::LossHistory::Point> points;
      const absl::Status fetched = client_->FetchSamples(
          request,
          [&](const v1::FetchSamplesResponse& part) {
            for (const v1::Sample& sample : part.samples()) points.push_back({sample.step(), sample.loss()});
          },
          &stop_fetching_);
      // Without them the curve begins where the view did.
      if (!fetched.ok()) return;
      const std::lock_guard<std::mutex> lock(inbox_.mutex);
      inbox_.losses.emplace_back(request.run_id(), std::move(points));
    });
  }
}

void LiveScreen::TakeInbox() {
  const std::lock_guard<std::mutex> lock(inbox_.mutex);
  if (!inbox_.message.empty()) state_.message = std::exchange(inbox_.message, "");
  for (const auto& [run, points] : inbox_.losses) history_.Fill(run, points);
  inbox_.losses.clear();
}

}  // namespace entrain::cli
