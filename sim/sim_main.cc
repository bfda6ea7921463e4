// entrain-sim: runs seeds of the simulated cluster. Exit code 0: everything held; 1: a seed failed; 2: too little was reached.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/clock.h"
#include "base/strings.h"
#include "sim/simulation.h"

namespace {

using entrain::StrCat;
using entrain::sim::Coverage;
using entrain::sim::Options;
using entrain::sim::Report;

struct Flags {
  std::uint64_t seed = 0;
  std::uint64_t first = 1;
  std::uint64_t seeds = 1;
  std::int64_t min_events = 2'000;
  std::size_t trace_lines = 40;
  std::size_t missed_lines = 0;
  double min_coverage = 0.0;
  bool trace = false;
};

// The line that a failed check of the core, or a crash, leaves behind with which seed it was.
char g_present[128];
void OnCrash(int) {
  // Only what a signal handler may do.
  [[maybe_unused]] const auto written = write(STDOUT_FILENO, g_present, std::char_traits<char>::length(g_present));
  _exit(1);
}

void Print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  std::fputc('\n', stdout);
  std::fflush(stdout);
}

void PrintFailure(const Report& failed, const Flags& flags) {
  Print(StrCat("seed ", failed.seed, " FAILED after ", failed.core_events, " events: ", failed.broken));
  Options options{.seed = failed.seed, .min_events = flags.min_events, .keep_trace = true};
  const Report again = entrain::sim::Simulate(options);
  const std::size_t from = again.trace.size() > flags.trace_lines ? again.trace.size() - flags.trace_lines : 0;
  for (std::size_t i = from; i < again.trace.size(); ++i) Print("  " + again.trace[i]);
  Print(again.broken == failed.broken ? StrCat("again with: entrain-sim --seed ", failed.seed, " --trace") : "NOT REPRODUCED: " + again.broken);
}

struct Totals {
  Coverage coverage;
  std::int64_t seeds = 0;
  std::int64_t events = 0;
  std::int64_t worker_events = 0;
  std::int64_t fewest_events = 0;
  std::int64_t runs = 0;
  std::int64_t crashes = 0;
  std::int64_t partitions = 0;
  std::int64_t failed_writes = 0;
  std::int64_t torn_writes = 0;
  double virtual_hours = 0.0;

  void Add(const Report& report) {
    ++seeds;
    coverage.Add(report.coverage);
    events += report.core_events;
    worker_events += report.worker_events;
    fewest_events = seeds == 1 ? report.core_events : std::min(fewest_events, report.core_events);
    runs += report.runs;
    crashes += report.coordinator_crashes;
    partitions += report.partitions;
    failed_writes += report.failed_writes;
    torn_writes += report.torn_writes;
    virtual_hours += static_cast<double>(report.virtual_ms) / 3.6e6;
  }
};

void PrintTotals(const Totals& t, double seconds) {
  Print(StrCat(t.seeds, " seeds held in ", seconds, " s: ", t.events, " coordinator events (at least ", t.fewest_events, " a seed), ", t.worker_events,
               " worker events, ", t.runs, " runs, ", t.crashes, " coordinator crashes, ", t.partitions, " partitions, ", t.failed_writes,
               " failed writes (", t.torn_writes, " torn), ", static_cast<std::int64_t>(t.virtual_hours), " virtual hours"));
  Print(StrCat("(state, event) pairs reached: ", t.coverage.reached(), " of ", Coverage::LegalPairs(), " legal ones, ",
               static_cast<int>(t.coverage.Share() * 1000) / 10.0, " %"));
}

int Run(const Flags& flags) {
  const entrain::SystemClock clock;
  const std::int64_t began_ms = clock.BootMs();
  Totals totals;
  for (std::uint64_t seed = flags.first; seed < flags.first + flags.seeds; ++seed) {
    std::snprintf(g_present, sizeof(g_present), "seed %llu FAILED: a check of the core's own, or a crash, ended the process\n",
                  static_cast<unsigned long long>(seed));
    const Report report = entrain::sim::Simulate({.seed = seed, .min_events = flags.min_events, .keep_trace = flags.trace});
    if (flags.trace) {
      for (const std::string& line : report.trace) Print(line);
    }
    if (!report.broken.empty()) {
      PrintFailure(report, flags);
      Print(StrCat("seeds before it that held: ", totals.seeds));
      return 1;
    }
    totals.Add(report);
  }
  PrintTotals(totals, static_cast<double>(clock.BootMs() - began_ms) / 1000.0);
  const std::vector<std::string> missed = totals.coverage.Missed();
  for (std::size_t i = 0; i < std::min(flags.missed_lines, missed.size()); ++i) Print("  missed: " + missed[i]);
  const std::vector<std::string> impossible = totals.coverage.Impossible();
  for (const std::string& pair : impossible) Print("reached, though said to be unreachable: " + pair);
  if (!impossible.empty() || totals.coverage.Share() < flags.min_coverage) {
    Print(StrCat("too little was reached: at least ", flags.min_coverage * 100, " % are demanded"));
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Flags flags;
  CLI::App app("Runs the coordinator's core, the scheduler, the policy and the workers' state machines in one process with virtual time, "
               "and breaks what can break. The same seed gives the same history.");
  app.add_option("--seed", flags.seed, "run this seed alone");
  app.add_option("--first", flags.first, "first of several seeds")->capture_default_str();
  app.add_option("--seeds", flags.seeds, "how many seeds")->capture_default_str();
  app.add_option("--min-events", flags.min_events, "events of the coordinator's core, a seed, at least")->capture_default_str();
  app.add_option("--min-coverage", flags.min_coverage, "share of legal (state, event) pairs that all seeds together must reach")->capture_default_str();
  app.add_option("--missed", flags.missed_lines, "print so many of the legal pairs that were not reached");
  app.add_option("--trace-lines", flags.trace_lines, "of a failing seed")->capture_default_str();
  app.add_flag("--trace", flags.trace, "print everything that happened");
  CLI11_PARSE(app, argc, argv);
  if (flags.seed != 0) {
    flags.first = flags.seed;
    flags.seeds = 1;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(signal, OnCrash);
  return Run(flags);
}
