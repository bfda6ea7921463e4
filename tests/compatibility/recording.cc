#include "tests/compatibility/recording.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <utility>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"

namespace entrain::compatibility {
namespace {

namespace fs = std::filesystem;
using testing::Eventually;
using testing::Process;

constexpr int kCommandLimitMs = 120'000;
constexpr int kExitSomeHalted = 3;
constexpr int kExitSomeCancelled = 5;

constexpr char kModel[] =
    "data:\n  path: text\n  tokenizer: bytes\nmodel:\n  n_layer: 2\n  n_head: 2\n  n_embd: 4\nresources:\n  ranks_per_machine: 2\n";
// One run trains to its end, the other is halted by its first samples.
constexpr char kShort[] =
    "variants:\n  - SM+LN+G\n  - preset: SM+G\n    health.collapse:\n      below_fraction_of_bound: 1\n      min_gap_steps: 4\n      min_gap_fraction: 0\n"
    "train:\n  steps: 40\n  batch_size: 2\n  context: 16\n  lr: 0.001\n  eval_interval_steps: 10\n  checkpoint_interval_steps: 20\n";
// Long enough for whatever happens to it, and few steps a second.
constexpr char kLong[] =
    "variants:\n  - SM+LN+R\ntrain:\n  steps: 100000\n  batch_size: 128\n  context: 128\n  lr: 0.001\n  eval_interval_steps: 100000\n"
    "  checkpoint_interval_steps: 10\nhealth: off\n";
constexpr char kElsewhere[] =
    "variants:\n  - SM+LN+G\ntrain:\n  steps: 20\n  batch_size: 2\n  context: 16\n  lr: 0.002\n  eval_interval_steps: 20\n"
    "  checkpoint_interval_steps: 1000\n";

std::string Program(const std::string& name) { return StrCat(ENTRAIN_BIN_DIR, "/", name); }

// Of all attempts in a worker's folder.
std::uintmax_t EventBytes(const std::string& worker) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(worker + "/attempts")) {
    std::error_code gone;
    if (entry.path().extension() == ".jsonl") bytes += entry.file_size(gone);
  }
  return bytes;
}

}  // namespace

Recording::Recording(const std::string& store)
    : dir_((fs::temp_directory_path() / "entrain-release").string()),
      store_(store),
      address_(StrCat("127.0.0.1:", testing::FreePorts(1).front())),
      tap_(address_, WithoutNames) {
  fs::remove_all(dir_);
  EXPECT_TRUE(MakeFolders(dir_ + "/text").ok());
  std::string text;
  for (int i = 0; i < 60; ++i) StrAppend(&text, "line ", i, " of a text that says little\n");
  EXPECT_TRUE(WriteFileAtomically(dir_ + "/text/a.txt", text).ok());
  for (const auto& [name, body] : {std::pair{"short", kShort}, std::pair{"long", kLong}, std::pair{"elsewhere", kElsewhere}}) {
    EXPECT_TRUE(WriteFileAtomically(StrCat(dir_, "/", name, ".yaml"), StrCat("name: ", name, "\n", kModel, body)).ok());
  }
  stub_ = v1::SweepService::NewStub(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
}

Recording::~Recording() {
  first_.KillNow();
  second_.KillNow();
  coordinator_.KillNow();
  for (const pid_t pid : testing::FindProcesses({dir_ + "/", "/attempts/"})) ::kill(pid, SIGKILL);
}

void Recording::StartCoordinator() {
  const std::string serving = dir_ + "/address";
  fs::remove(serving);
  std::vector<std::string> command = {Program("entrain-coordinator"), "--listen", address_, "--address-file", serving, "--artifacts", dir_ + "/artifacts",
                                      "--lease-ms", "600000", "--heartbeat-ms", "500", "--retention-interval", "0"};
  if (store_.empty()) command.insert(command.end(), {"--data-dir", dir_ + "/data"});
  if (!store_.empty()) command.insert(command.end(), {"--store", store_});
  coordinator_ = Process::Start(command, dir_ + "/coordinator.log", dir_);
  ASSERT_TRUE(Eventually([&] { return fs::exists(serving); })) << ReadFile(dir_ + "/coordinator.log").value_or("");
}

Process Recording::StartWorker(const std::string& name, const std::vector<std::string>& more) {
  std::vector<std::string> command = {Program("entrain-worker"), "--coordinator", tap_.address(), "--dir", StrCat(dir_, "/", name), "--slots", "2",
                                      "--slot-kind", "cpu", "--name", name};
  command.insert(command.end(), more.begin(), more.end());
  return Process::Start(command, StrCat(dir_, "/", name, ".log"), dir_);
}

void Recording::EndWorker(Process* worker) {
  worker->Signal(SIGTERM);
  EXPECT_EQ(worker->Wait(kCommandLimitMs), 0);
}

bool Recording::Do(std::vector<std::string> arguments, int exit_code) {
  Command& command = commands_.emplace_back(Command{std::move(arguments), exit_code, {}});
  std::vector<std::string> words = command.arguments;
  words.insert(words.begin(), Program("entrain"));
  words.insert(words.end(), {"--coordinator", tap_.address(), "-o", "json"});
  const std::string log = dir_ + "/cli.log";
  fs::remove(log);
  const int ended = Process::Start(words, log, dir_).Wait(kCommandLimitMs);
  const std::string output = ReadFile(log).value_or("");
  const auto parsed = nlohmann::json::parse(output, nullptr, false);
  command.output = parsed.is_discarded() ? nlohmann::json() : parsed;
  EXPECT_EQ(ended, exit_code) << "entrain " << command.arguments.front() << "\n" << output;
  return ended == exit_code;
}

v1::RunSummary Recording::Ask(const std::string& run) {
  v1::GetRunRequest request;
  request.set_run_id(run);
  v1::RunDetail detail;
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  stub_->GetRun(&context, request, &detail);
  return detail.summary();
}

bool Recording::Await(const std::string& run, const std::function<bool(const v1::RunSummary&)>& condition) {
  const bool held = Eventually([&] { return condition(Ask(run)); }, kCommandLimitMs);
  EXPECT_TRUE(held) << run << ": " << Ask(run).ShortDebugString();
  return held;
}

bool Recording::AwaitState(const std::string& run, const std::string& state) {
  return Await(run, [&](const v1::RunSummary& now) { return now.state() == state; });
}

bool Recording::AwaitMore(const std::string& run) {
  const std::int64_t before = Ask(run).step();
  return Await(run, [&](const v1::RunSummary& now) { return now.state() == "running" && now.step() > before + 5; });
}

void Recording::SubmitBeforeAnyWorker() {
  Do({"submit", "short.yaml", "--key", "first"});
  Do({"submit", "short.yaml", "--key", "first"});
  for (const char* command : {"list", "workers"}) Do({command});
  Do({"explain", "SM+LN+G"});
  first_ = StartWorker("w1", {"--artifacts", dir_ + "/artifacts"});
  Do({"wait"}, kExitSomeHalted);
}

void Recording::LookAtEverything() {
  for (const char* command : {"list", "workers"}) Do({command});
  for (const char* run : {"SM+LN+G", "SM+G"}) {
    for (const char* command : {"describe", "explain", "logs"}) Do({command, run});
  }
  Do({"describe", "last"});
  LookAtSweep("last");
  Do({"describe", "no-such-run"}, 1);
}

void Recording::LookAtSweep(const std::string& sweep) {
  Do({"report", sweep, "-o", StrCat("report-", sweep, ".html")});
  Do({"export", sweep, "--format", "csv", "-o", StrCat("samples-", sweep)});
}

void Recording::StopAndGoOn() {
  Do({"submit", "long.yaml", "--key", "second"});
  Await("SM+LN+R", [](const v1::RunSummary& now) { return now.step() > 12; });
  Do({"pause", "SM+LN+R"});
  AwaitState("SM+LN+R", "paused");
  Do({"describe", "SM+LN+R"});
  Do({"resume", "SM+LN+R"});
  AwaitMore("SM+LN+R");
}

void Recording::UpgradeOneAfterTheOther() {
  tap_.Note(0, What::kStopping);
  coordinator_.Signal(SIGTERM);
  EXPECT_EQ(coordinator_.Wait(kCommandLimitMs), 0);
  tap_.Note(0, What::kRestarted);
  if (store_.empty()) fs::copy(dir_ + "/data", store_at_restart());
  StartCoordinator();
  AwaitMore("SM+LN+R");
  EndWorker(&first_);
  first_ = StartWorker("w1", {"--artifacts", dir_ + "/artifacts"});
  AwaitMore("SM+LN+R");
  first_.KillNow();
  // Its gang goes on writing, and nobody sends that; a file may go while it is copied.
  const std::uintmax_t written = EventBytes(dir_ + "/w1");
  EXPECT_TRUE(Eventually([&] { return EventBytes(dir_ + "/w1") > written + 500; }));
  static_cast<void>(std::system(StrCat("cp -r ", dir_, "/w1 ", left_behind(), " 2>/dev/null; find ", left_behind(), " -type p -delete").c_str()));
  first_ = StartWorker("w1", {"--artifacts", dir_ + "/artifacts"});
  AwaitMore("SM+LN+R");
  Do({"stop", "SM+LN+R"});
  Do({"wait"}, kExitSomeCancelled);
  Do({"describe", "SM+LN+R"});
}

void Recording::TrainWithNothingShared() {
  Do({"workers", "--quarantine", "w1", "--reason", "its fan"});
  second_ = StartWorker("w2");
  Do({"submit", "elsewhere.yaml", "--key", "third", "--priority", "3"});
  Do({"wait"});
  Do({"workers"});
  Do({"workers", "--release", "w1"});
  Do({"fetch", "SM+LN+G", "-o", "model"});
}

void Recording::TidyUp() {
  EndWorker(&second_);
  Do({"retry", "SM+LN+G"});
  Do({"wait"});
  Do({"release", "last"});
  Do({"gc"});
  EndWorker(&first_);
  Do({"workers", "--forget", "w2"});
  for (const char* command : {"list", "workers"}) Do({command});
  v1::ListSweepsResponse sweeps;
  grpc::ClientContext context;
  stub_->ListSweeps(&context, {}, &sweeps);
  for (const v1::SweepSummary& sweep : sweeps.sweeps()) LookAtSweep(sweep.id());
}

std::vector<Record> Recording::Records() const {
  std::vector<Record> records = tap_.Records();
  std::set<int> heard_of;
  std::set<int> unavailable;
  for (const Record& record : records) {
    if (record.what == What::kSaid) heard_of.insert(record.call);
    if (record.what == What::kEnded && record.bytes == std::to_string(grpc::StatusCode::UNAVAILABLE)) unavailable.insert(record.call);
  }
  std::erase_if(records, [&](const Record& record) { return unavailable.contains(record.call) && !heard_of.contains(record.call); });
  return records;
}

void Recording::Play() {
  StartCoordinator();
  SubmitBeforeAnyWorker();
  LookAtEverything();
  StopAndGoOn();
  UpgradeOneAfterTheOther();
  TrainWithNothingShared();
  TidyUp();
  coordinator_.Signal(SIGTERM);
  EXPECT_EQ(coordinator_.Wait(kCommandLimitMs), 0);
  tap_.Stop();
}

}  // namespace entrain::compatibility
