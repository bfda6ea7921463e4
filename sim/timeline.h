// Virtual time: actions in order of their time, then of when they were asked for. Nothing else makes time pass.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

namespace entrain::sim {

class Timeline {
 public:
  using Action = std::function<void()>;

  std::int64_t now_ms() const { return now_ms_; }
  void After(std::int64_t delay_ms, Action action) { actions_.emplace(std::pair(now_ms_ + delay_ms, ++asked_), std::move(action)); }
  // Runs the next action; false when there is none.
  bool Step() {
    if (actions_.empty()) return false;
    auto next = actions_.extract(actions_.begin());
    now_ms_ = next.key().first;
    next.mapped()();
    return true;
  }

 private:
  std::int64_t now_ms_ = 0;
  std::uint64_t asked_ = 0;
  std::map<std::pair<std::int64_t, std::uint64_t>, Action> actions_;
};

}  // namespace entrain::sim
