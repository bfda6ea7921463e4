#include "cli/view/view_state.h"

#include <algorithm>
#include <cctype>
#include <cmath>

#include "base/strings.h"

namespace entrain::cli::view {
namespace {

using Kind = Key::Kind;
using Pane = ViewState::Pane;
using Prompt = ViewState::Prompt;

constexpr int kOrders = 6;

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// What trains goes first, then what ended badly.
int StateRank(domain::RunState state) {
  switch (state) {
    case domain::RunState::kRunning: return 0;
    case domain::RunState::kStarting: return 1;
    case domain::RunState::kStopping: return 2;
    case domain::RunState::kHalted: return 3;
    case domain::RunState::kFailed: return 4;
    case domain::RunState::kPaused: return 5;
    case domain::RunState::kQueued: return 6;
    case domain::RunState::kSucceeded: return 7;
    case domain::RunState::kPruned: return 8;
    case domain::RunState::kCancelled: return 9;
  }
  return 10;
}

// Lower goes first; runs without the value last.
double SortValue(const RunView& run, Order order) {
  const auto known = [](double value) { return value != 0.0 && std::isfinite(value) ? value : INFINITY; };
  switch (order) {
    case Order::kState: return StateRank(run.state);
    case Order::kStep: return -static_cast<double>(run.step);
    case Order::kLoss: return known(run.loss);
    case Order::kPerplexity: return known(run.eval_loss);
    case Order::kEntropy: {
      double lowest = INFINITY;
      for (const float value : run.entropy_fraction) lowest = std::isfinite(value) ? std::min<double>(lowest, value) : -1.0;
      return lowest;
    }
    case Order::kSweep: return 0.0;
  }
  return 0.0;
}

void Move(const SweepView& sweep, std::int64_t by, ViewState* state) {
  const std::vector<std::size_t> shown = ShownRuns(sweep, *state);
  if (shown.empty()) return;
  const auto at = static_cast<std::int64_t>(SelectedPosition(sweep, shown, *state));
  const std::int64_t to = std::clamp<std::int64_t>(at + by, 0, static_cast<std::int64_t>(shown.size()) - 1);
  state->selected = sweep.runs[shown[static_cast<std::size_t>(to)]].id;
}

// How far a key moves: runs down the list, or lines back in a log.
std::int64_t MoveOf(const Key& key, int page_rows) {
  constexpr std::int64_t kFar = 1'000'000'000;
  switch (key.kind) {
    case Kind::kUp: return -1;
    case Kind::kDown: return 1;
    case Kind::kPageUp: return -page_rows;
    case Kind::kPageDown: return page_rows;
    case Kind::kHome: return -kFar;
    case Kind::kEnd: return kFar;
    case Kind::kText:
      if (key.text == "k") return -1;
      if (key.text == "j") return 1;
      if (key.text == "g") return -kFar;
      return key.text == "G" ? kFar : 0;
    default: return 0;
  }
}

Command Ask(const Command& command, ViewState* state) {
  state->asked = command;
  state->prompt = Prompt::kConfirm;
  return {};
}

Command OnConfirmKey(const Key& key, ViewState* state) {
  const Command asked = state->asked;
  state->prompt = Prompt::kNone;
  state->asked = {};
  if (key.text == "y" || key.text == "Y") return asked;
  state->message = "nothing was done";
  return {};
}

Command OnFilterKey(const Key& key, ViewState* state) {
  switch (key.kind) {
    case Kind::kEnter: state->prompt = Prompt::kNone; break;
    case Kind::kEscape:
      state->filter = state->filter_before;
      state->prompt = Prompt::kNone;
      break;
    case Kind::kBackspace:
      // A whole character, however many bytes.
      while (!state->filter.empty() && (static_cast<unsigned char>(state->filter.back()) & 0xC0) == 0x80) state->filter.pop_back();
      if (!state->filter.empty()) state->filter.pop_back();
      break;
    case Kind::kText: state->filter += key.text; break;
    default: break;
  }
  return {};
}

Command Leave(ViewState* state) {
  const Command leave{Command::Kind::kLeave, "", "checkpoint every run and end"};
  return state->leaving_ends_runs ? Ask(leave, state) : leave;
}

Command OnLogKey(const Key& key, int page_rows, ViewState* state) {
  if (key.kind == Kind::kEscape || key.text == "q" || key.text == "l") {
    state->pane = Pane::kRuns;
    return {Command::Kind::kCloseLogs, "", ""};
  }
  state->log_lines_up = std::max<std::int64_t>(0, state->log_lines_up - MoveOf(key, page_rows));
  return {};
}

bool Pausable(const RunView& run) { return run.state != domain::RunState::kPaused && !domain::IsFinal(run.state); }

Command PauseOrResume(const SweepView& sweep, bool whole_sweep, ViewState* state) {
  if (whole_sweep) {
    const bool pause = std::any_of(sweep.runs.begin(), sweep.runs.end(), Pausable);
    return {pause ? Command::Kind::kPause : Command::Kind::kResume, sweep.id, StrCat("sweep ", sweep.name)};
  }
  const RunView* run = SelectedRun(sweep, *state);
  if (run == nullptr) return {};
  if (domain::IsFinal(run->state)) {
    state->message = StrCat(run->label, " has ended");
    return {};
  }
  return {Pausable(*run) ? Command::Kind::kPause : Command::Kind::kResume, run->id, run->label};
}

Command StopAsked(const SweepView& sweep, bool whole_sweep, ViewState* state) {
  if (whole_sweep) return Ask({Command::Kind::kStop, sweep.id, StrCat("every run of sweep ", sweep.name)}, state);
  const RunView* run = SelectedRun(sweep, *state);
  if (run == nullptr) return {};
  if (!domain::IsFinal(run->state)) return Ask({Command::Kind::kStop, run->id, run->label}, state);
  state->message = StrCat(run->label, " has ended");
  return {};
}

Command OpenLogs(const SweepView& sweep, ViewState* state) {
  const RunView* run = SelectedRun(sweep, *state);
  if (run == nullptr) return {};
  state->pane = Pane::kLogs;
  state->log_lines_up = 0;
  return {Command::Kind::kOpenLogs, run->id, run->label};
}

Command OnRunsText(char key, const SweepView& sweep, ViewState* state) {
  switch (key) {
    case 'q': return Leave(state);
    case 's':
    case 'S': return StopAsked(sweep, key == 'S', state);
    case 'p':
    case 'P': return PauseOrResume(sweep, key == 'P', state);
    case 'l': return OpenLogs(sweep, state);
    case 'o': state->order = static_cast<Order>((static_cast<int>(state->order) + 1) % kOrders); break;
    case 'r': state->reversed = !state->reversed; break;
    case 'd': state->detail = !state->detail; break;
    case '?':
    case 'h': state->pane = Pane::kHelp; break;
    case '/':
      state->filter_before = state->filter;
      state->prompt = Prompt::kFilter;
      break;
    default: break;
  }
  return {};
}

Command OnRunsKey(const Key& key, const SweepView& sweep, int page_rows, ViewState* state) {
  state->message.clear();
  if (const std::int64_t by = MoveOf(key, page_rows); by != 0) {
    Move(sweep, by, state);
    return {};
  }
  if (key.kind == Kind::kEnter) return OpenLogs(sweep, state);
  if (key.kind == Kind::kEscape) state->filter.clear();
  return key.text.size() == 1 ? OnRunsText(key.text[0], sweep, state) : Command{};
}

}  // namespace

std::string_view OrderText(Order order) {
  switch (order) {
    case Order::kSweep: return "as in the sweep";
    case Order::kState: return "by state";
    case Order::kStep: return "by step";
    case Order::kLoss: return "by loss";
    case Order::kPerplexity: return "by perplexity";
    case Order::kEntropy: return "by lowest entropy";
  }
  return "";
}

std::vector<std::size_t> ShownRuns(const SweepView& sweep, const ViewState& state) {
  std::vector<std::size_t> shown;
  const std::string wanted = LowerCase(state.filter);
  for (std::size_t i = 0; i < sweep.runs.size(); ++i) {
    const std::string text = LowerCase(StrCat(sweep.runs[i].label, " ", StateText(sweep.runs[i])));
    if (text.find(wanted) != std::string::npos) shown.push_back(i);
  }
  std::stable_sort(shown.begin(), shown.end(),
                   [&](auto a, auto b) { return SortValue(sweep.runs[a], state.order) < SortValue(sweep.runs[b], state.order); });
  if (state.reversed) std::reverse(shown.begin(), shown.end());
  return shown;
}

std::size_t SelectedPosition(const SweepView& sweep, const std::vector<std::size_t>& shown, const ViewState& state) {
  for (std::size_t i = 0; i < shown.size(); ++i) {
    if (sweep.runs[shown[i]].id == state.selected) return i;
  }
  return 0;
}

const RunView* SelectedRun(const SweepView& sweep, const ViewState& state) {
  const std::vector<std::size_t> shown = ShownRuns(sweep, state);
  return shown.empty() ? nullptr : &sweep.runs[shown[SelectedPosition(sweep, shown, state)]];
}

Command OnKey(const Key& key, const SweepView& sweep, int page_rows, ViewState* state) {
  if (key.kind == Kind::kSuspend) return {Command::Kind::kSuspend, "", ""};
  if (state->prompt == Prompt::kConfirm) return OnConfirmKey(key, state);
  if (state->prompt == Prompt::kFilter) return OnFilterKey(key, state);
  if (state->pane == Pane::kLogs) return OnLogKey(key, page_rows, state);
  if (state->pane == Pane::kHelp) {
    state->pane = Pane::kRuns;
    return {};
  }
  return OnRunsKey(key, sweep, page_rows, state);
}

}  // namespace entrain::cli::view
