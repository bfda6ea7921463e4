// Writes a sweep of many long runs to a store, and the report made from it: bench/report opens it in a browser.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>

#include "CLI/CLI.hpp"
#include "base/files.h"
#include "coordinator/store/store.h"
#include "tests/reports/long_sweep.h"

namespace {

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace entrain;
  reports::SampleShape shape{.steps = 10'000, .n_layer = 12, .n_head = 12};
  int runs = 100;
  std::string folder;
  CLI::App app("Makes a report of many long runs");
  app.add_option("--runs", runs)->capture_default_str();
  app.add_option("--steps", shape.steps)->capture_default_str();
  app.add_option("--layers", shape.n_layer)->capture_default_str();
  app.add_option("--heads", shape.n_head)->capture_default_str();
  app.add_option("FOLDER", folder, "Gets report.html; holds the store meanwhile")->required();
  CLI11_PARSE(app, argc, argv);
  const auto begin = std::chrono::steady_clock::now();
  const std::string database = folder + "/store.db";
  auto store = store::OpenSqliteStore(database);
  if (!store.ok()) return Fail(store.status());
  const auto sweep = reports::SweepThroughStore(store->get(), shape, runs, 2'000);
  if (!sweep.ok()) return Fail(sweep.status());
  const double filled_s = SecondsSince(begin);
  const auto made = std::chrono::steady_clock::now();
  const std::string html = reports::ReportHtml(*sweep);
  std::printf("store filled and read in %.1f s, report of %.2f MB made in %.1f s\n", filled_s, static_cast<double>(html.size()) / 1e6, SecondsSince(made));
  if (const absl::Status written = WriteFileAtomically(folder + "/report.html", html); !written.ok()) return Fail(written);
  return 0;
}
