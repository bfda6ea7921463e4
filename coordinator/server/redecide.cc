#include "coordinator/server/redecide.h"

#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "coordinator/core/core.h"
#include "coordinator/store/store.h"

namespace entrain::server {
namespace {

// Facts of one list that are shown.
constexpr std::size_t kMaxShown = 5;

std::string Lines(std::vector<domain::Fact> facts, const std::string& whose) {
  if (facts.empty()) return StrCat("  ", whose, ": nothing\n");
  std::string text;
  for (std::size_t i = 0; i < std::min(facts.size(), kMaxShown); ++i) {
    StrAppend(&text, "  ", whose, ": ", store::Describe(facts[i]), "\n");
  }
  if (facts.size() > kMaxShown) StrAppend(&text, "  ", whose, ": and ", facts.size() - kMaxShown, " more\n");
  return text;
}

class Replayer {
 public:
  Replayer(const store::History& history, const core::CoreConfig& config) : history_(history), config_(config), state_(config) {}

  Redecision Run() {
    const std::vector<store::StoredEvent>& events = history_.events;
    const std::size_t first = FirstToDecide();
    if (first == events.size()) {
      if (history_.first_fact > 1) result_.first_event = 0;
      return result_;
    }
    result_.first_event = events[first].number;
    at_ = static_cast<std::size_t>(events[first].facts_before - (history_.first_fact - 1));
    Restart();
    for (std::size_t i = first; i < events.size(); ++i) {
      // A new process knew the stored facts and nothing of who was connected.
      if (i > first && events[i].term != events[i - 1].term) Restart();
      if (!DecideOne(i)) return result_;
      if (i + 1 == events.size() || events[i + 1].facts_before != events[i].facts_before) {
        if (at_ != EndOfBatch(i)) {
          Differ(i, {});
          return result_;
        }
      }
    }
    return result_;
  }

 private:
  // A snapshot does not say who was connected: from there, deciding starts with the next process.
  std::size_t FirstToDecide() const {
    const std::vector<store::StoredEvent>& events = history_.events;
    if (history_.first_fact == 1) return 0;
    std::size_t first = 1;
    while (first < events.size() && events[first].term == events[first - 1].term) ++first;
    return std::min(first, events.size());
  }
  // Where the facts of the event's batch end.
  std::size_t EndOfBatch(std::size_t event) const {
    for (std::size_t i = event + 1; i < history_.events.size(); ++i) {
      const std::int64_t before = history_.events[i].facts_before;
      if (before == history_.events[event].facts_before) continue;
      return std::min(history_.facts.size(), static_cast<std::size_t>(before - (history_.first_fact - 1)));
    }
    return history_.facts.size();
  }

  void Restart() {
    state_ = core::State(config_);
    for (const domain::Fact& fact : history_.snapshot) core::Apply(&state_, fact);
    for (std::size_t i = 0; i < at_; ++i) core::Apply(&state_, history_.facts[i]);
  }

  bool DecideOne(std::size_t event) {
    std::vector<domain::Fact> decided;
    for (const domain::Fact& fact : core::Decide(state_, history_.events[event].event).facts) {
      core::Apply(&state_, fact);
      if (!domain::IsTransient(fact)) decided.push_back(fact);
    }
    const std::size_t end = EndOfBatch(event);
    for (std::size_t i = 0; i < decided.size(); ++i) {
      if (at_ + i < end && store::SameAsStored(decided[i], history_.facts[at_ + i])) continue;
      Differ(event, decided);
      return false;
    }
    at_ += decided.size();
    ++result_.events;
    result_.facts += static_cast<std::int64_t>(decided.size());
    return true;
  }

  // `decided` instead of the stored facts from here to the end of the batch.
  void Differ(std::size_t event, const std::vector<domain::Fact>& decided) {
    const store::StoredEvent& stored = history_.events[event];
    const auto begin = history_.facts.begin();
    const std::size_t end = std::max(at_, EndOfBatch(event));
    result_.difference = StrCat("event ", stored.number, " (", store::KindOf(stored.event), ") decides other facts, from fact ",
                                history_.first_fact + static_cast<std::int64_t>(at_), " on\n");
    const std::vector<domain::Fact> expected(begin + static_cast<std::ptrdiff_t>(at_), begin + static_cast<std::ptrdiff_t>(end));
    StrAppend(&result_.difference, Lines(expected, "stored"), Lines(decided, "decided"));
    if (stored.term == 0) {
      StrAppend(&result_.difference, "  it was stored by a build that did not mark restarts: one in between shows here too\n");
    }
  }

  const store::History& history_;
  const core::CoreConfig config_;
  core::State state_;
  std::size_t at_ = 0;  // stored facts that were decided again
  Redecision result_;
};

}  // namespace

Redecision Redecide(const store::History& history, const core::CoreConfig& config) { return Replayer(history, config).Run(); }

std::string TextOf(const Redecision& result) {
  if (result.first_event == 0) {
    return "nothing to decide again: the facts before the snapshot are not kept, and no coordinator has started since\n";
  }
  std::string text;
  if (result.first_event > 1) {
    text = StrCat("the facts of earlier events are not kept: starting at event ", result.first_event, ", from the snapshot\n");
  }
  StrAppend(&text, result.events, " events give the same ", result.facts, " facts\n");
  if (!result.difference.empty()) StrAppend(&text, "first difference: ", result.difference);
  return text;
}

}  // namespace entrain::server
