#include "bench/operator_times.h"

#include <ATen/record_function.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <memory>

namespace entrain::bench {
namespace {

// Of all threads: an operator's helpers work while its caller waits.
double CpuSecondsOfAllThreads() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Totals {
  double seconds = 0.0;
  std::int64_t calls = 0;
};

struct Open {
  std::string name;
  double began = 0.0;
  double inner_seconds = 0.0;
};

// Only the thread that drives the step is watched.
std::map<std::string, Totals> totals_by_name;
thread_local std::vector<Open> open_operators;
thread_local bool is_watched = false;

std::unique_ptr<at::ObserverContext> OnBegin(const at::RecordFunction& function) {
  if (is_watched) open_operators.push_back({function.name(), CpuSecondsOfAllThreads(), 0.0});
  return nullptr;
}

void OnEnd(const at::RecordFunction&, at::ObserverContext*) {
  if (!is_watched || open_operators.empty()) return;
  const Open closed = open_operators.back();
  open_operators.pop_back();
  const double seconds = CpuSecondsOfAllThreads() - closed.began;
  Totals& totals = totals_by_name[closed.name];
  totals.seconds += seconds - closed.inner_seconds;
  ++totals.calls;
  if (!open_operators.empty()) open_operators.back().inner_seconds += seconds;
}

}  // namespace

std::vector<OperatorShare> TimeOperators(const std::function<void()>& work, std::int64_t steps) {
  totals_by_name.clear();
  const at::CallbackHandle handle = at::addGlobalCallback(
      at::RecordFunctionCallback(OnBegin, OnEnd).scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE}));
  is_watched = true;
  const double began = CpuSecondsOfAllThreads();
  work();
  const double whole = CpuSecondsOfAllThreads() - began;
  is_watched = false;
  at::removeCallback(handle);
  std::vector<OperatorShare> shares;
  double inside = 0.0;
  for (const auto& [name, totals] : totals_by_name) {
    inside += totals.seconds;
    shares.push_back({name, totals.seconds / whole, static_cast<double>(totals.calls) / static_cast<double>(steps)});
  }
  shares.push_back({"outside operators", (whole - inside) / whole, 0.0});
  std::sort(shares.begin(), shares.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  return shares;
}

}  // namespace entrain::bench
