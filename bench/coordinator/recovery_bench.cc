// How long a coordinator takes to be ready again after kill -9, with many runs in its snapshot and many facts committed since.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/strings.h"
#include "bench/coordinator/child.h"
#include "bench/coordinator/fleet_model.h"
#include "coordinator/core/compact.h"
#include "coordinator/store/store.h"

namespace entrain::bench {
namespace {

struct Flags {
  std::string folder = "bench-recovery-data";
  std::string program;
  std::int64_t runs = 100'000;
  std::int64_t facts_since = 50'000;
  int repeats = 3;
};

constexpr std::size_t kFactsACommit = 512;

bool Commit(store::Store* store, const std::vector<domain::Fact>& facts) {
  for (std::size_t begin = 0; begin < facts.size(); begin += kFactsACommit) {
    const std::size_t end = std::min(facts.size(), begin + kFactsACommit);
    const std::vector<domain::Fact> some(facts.begin() + static_cast<std::ptrdiff_t>(begin), facts.begin() + static_cast<std::ptrdiff_t>(end));
    const domain::Event event{some.back().at_ms, some.back().wall_ms, domain::Tick{}};
    if (const absl::Status status = store->Commit({event}, some); !status.ok()) {
      std::printf("%s\n", status.ToString().c_str());
      return false;
    }
  }
  return true;
}

// In a process of its own, which is killed: nothing is closed.
void Fill(const Flags& flags) {
  auto store = store::OpenSqliteStore(flags.folder + "/coordinator.db");
  if (!store.ok()) _exit(1);
  std::vector<domain::Fact> facts;
  const FleetSizes sizes{.workers = 250, .slots = 8, .owners = 16, .occupied = 0.9};
  FleetModel model(sizes, core::CoreConfig(), 3, &facts);
  model.Queue(flags.runs - static_cast<std::int64_t>(model.state().runs.size()));
  if (!Commit(store->get(), facts) || !(*store)->WriteSnapshot(core::CompactFacts(facts, core::CoreConfig())).ok()) _exit(1);
  facts.clear();
  // Runs end and others start until enough has happened.
  while (static_cast<std::int64_t>(facts.size()) < flags.facts_since) {
    model.Advance(10);
    model.Apply(core::Decide(model.state(), {model.now_ms(), model.now_ms(), model.NextEnd()}).facts);
  }
  if (!Commit(store->get(), facts)) _exit(1);
  std::printf("%zu runs, %zu facts since the snapshot\n", model.state().runs.size(), facts.size());
  std::fflush(stdout);
  kill(getpid(), SIGKILL);
}

int Run(const Flags& flags) {
  std::filesystem::remove_all(flags.folder);
  std::filesystem::create_directories(flags.folder);
  const pid_t filler = fork();
  if (filler == 0) Fill(flags);
  int status = 0;
  waitpid(filler, &status, 0);
  if (!WIFSIGNALED(status)) return 1;
  for (int i = 0; i < flags.repeats; ++i) {
    // It is killed again each time, and so finds the same journal.
    Child coordinator = Child::Start(flags.program, {"--data-dir", flags.folder, "--listen", "127.0.0.1:0"}, flags.folder + "/address");
    std::printf("ready after %.2f s (%.2f s of CPU time), %.0f MiB resident\n", coordinator.ready_s(), coordinator.CpuSeconds(), coordinator.ResidentMib());
    std::fflush(stdout);
    coordinator.Kill(SIGKILL);
  }
  std::filesystem::remove_all(flags.folder);
  return 0;
}

}  // namespace
}  // namespace entrain::bench

int main(int argc, char** argv) {
  entrain::bench::Flags flags;
  flags.program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "entrain-coordinator";
  CLI::App app("Measures a coordinator's restart after kill -9.");
  app.add_option("--folder", flags.folder, "where the databases go")->capture_default_str();
  app.add_option("--program", flags.program, "entrain-coordinator")->capture_default_str();
  app.add_option("--runs", flags.runs, "in the journal")->capture_default_str();
  app.add_option("--facts-since", flags.facts_since, "the snapshot")->capture_default_str();
  app.add_option("--repeats", flags.repeats, "restarts")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return entrain::bench::Run(flags);
}
