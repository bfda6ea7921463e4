#include "tests/integration/cluster.h"

#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/hash.h"
#include "base/strings.h"
#include "data/prepare.h"

namespace entrain::testing {
namespace {

constexpr int kCallTimeoutMs = 10'000;

std::string Program(const std::string& name) { return StrCat(ENTRAIN_BIN_DIR, "/", name); }

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kCallTimeoutMs, GPR_TIMESPAN)));
  context->set_wait_for_ready(true);
}

// Once more while the connection to a coordinator that was killed still passes for a good one.
template <typename Call>
grpc::Status Ask(const Call& call) {
  grpc::Status status;
  Eventually(
      [&] {
        grpc::ClientContext context;
        SetDeadline(&context);
        status = call(&context);
        return status.error_code() != grpc::StatusCode::UNAVAILABLE;
      },
      10'000);
  return status;
}

std::string AwaitFile(const std::string& path) {
  std::string content;
  Eventually([&] {
    auto bytes = ReadFile(path);
    if (bytes.ok()) content = *bytes;
    return !content.empty();
  });
  while (!content.empty() && content.back() == '\n') content.pop_back();
  return content;
}

// A standby's must be known before it takes it.
std::string FreeAddress() { return StrCat("127.0.0.1:", FreePorts(1).front()); }

std::string ProgramOf(pid_t pid) {
  const std::string command = ReadFile(StrCat("/proc/", pid, "/cmdline")).value_or("");
  return std::filesystem::path(command.substr(0, command.find('\0'))).filename().string();
}

}  // namespace

std::vector<int> FreePorts(int count) {
  std::vector<int> sockets, ports;
  for (int i = 0; i < count; ++i) {
    const int probe = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(probe, reinterpret_cast<const sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size), 0);
    sockets.push_back(probe);
    ports.push_back(ntohs(address.sin_port));
  }
  for (const int probe : sockets) close(probe);
  return ports;
}

Cluster::Cluster(const std::string& name, int lease_ms)
    : root_(std::filesystem::path(StrCat(::testing::TempDir(), "/entrain-", name, "-", ::getpid())).lexically_normal()),
      lease_ms_(lease_ms) {
  std::filesystem::remove_all(root_);
  EXPECT_TRUE(MakeFolders(root_ + "/artifacts/datasets").ok());
}

v1::ListWorkersResponse Cluster::Workers() {
  v1::ListWorkersResponse workers;
  const grpc::Status status = Ask([&](grpc::ClientContext* context) { return stub_->ListWorkers(context, v1::ListWorkersRequest(), &workers); });
  EXPECT_TRUE(status.ok()) << status.error_message();
  return workers;
}

Cluster::~Cluster() {
  workers_.clear();
  members_.clear();
  coordinator_.KillNow();
  for (pid_t pid : GangProcesses()) kill(pid, SIGKILL);
  if (!::testing::Test::HasFailure()) std::filesystem::remove_all(root_);
}

void Cluster::StartCoordinator() {
  const std::string address_file = root_ + "/coordinator.address";
  std::filesystem::remove(address_file);
  std::vector<std::string> command =
      {Program("entrain-coordinator"), "--data-dir", root_ + "/data", "--listen", address_, "--address-file", address_file,
       "--artifacts", root_ + "/artifacts", "--metrics", "127.0.0.1:0", "--metrics-address-file",
       root_ + "/coordinator.metrics", "--lease-ms", std::to_string(lease_ms_), "--heartbeat-ms", "500"};
  command.insert(command.end(), coordinator_flags_.begin(), coordinator_flags_.end());
  coordinator_ = Process::Start(command, root_ + "/coordinator.log");
  address_ = AwaitFile(address_file);
  ASSERT_FALSE(address_.empty()) << LogTail("coordinator.log");
  stub_ = v1::SweepService::NewStub(grpc::CreateChannel(address_, credentials_));
}

void Cluster::TalkTo(const std::string& addresses) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  stub_ = v1::SweepService::NewStub(grpc::CreateCustomChannel("ipv4:" + addresses, grpc::InsecureChannelCredentials(), arguments));
}

void Cluster::StartPair(const std::string& store_url, int leader_lease_ms) {
  store_url_ = store_url;
  leader_lease_ms_ = leader_lease_ms;
  member_addresses_ = {{"c1", FreeAddress()}, {"c2", FreeAddress()}};
  address_ = StrCat(member_addresses_["c1"], ",", member_addresses_["c2"]);
  StartMember("c1");
  ASSERT_TRUE(Eventually([this] { return Leads("c1"); })) << LogTail("c1.log");
  StartMember("c2");
  ASSERT_TRUE(Eventually([this] { return LogTail("c2.log").find("standing by") != std::string::npos; })) << LogTail("c2.log");
  TalkTo(address_);
}

void Cluster::StartMember(const std::string& name) {
  const std::string address_file = StrCat(root_, "/", name, ".address");
  std::filesystem::remove(address_file);
  members_[name] = Process::Start(
      {Program("entrain-coordinator"), "--store", store_url_, "--artifacts", root_ + "/artifacts", "--listen", member_addresses_.at(name),
       "--address-file", address_file, "--lease-ms", std::to_string(lease_ms_), "--heartbeat-ms", "500", "--leader-lease-ms",
       std::to_string(leader_lease_ms_)},
      StrCat(root_, "/", name, ".log"));
}

bool Cluster::Leads(const std::string& name) const { return std::filesystem::exists(StrCat(root_, "/", name, ".address")); }

void Cluster::StartWorker(const std::string& name, int slots, bool shares_root) {
  const std::string metrics_file = StrCat(root_, "/", name, ".metrics");
  std::filesystem::remove(metrics_file);
  std::vector<std::string> command = {Program("entrain-worker"), "--coordinator", address_, "--dir", StrCat(root_, "/", name),
                                      "--slots", std::to_string(slots), "--slot-kind", "cpu", "--name", name, "--metrics", "127.0.0.1:0",
                                      "--metrics-address-file", metrics_file};
  if (shares_root) command.insert(command.end(), {"--artifacts", root_ + "/artifacts"});
  workers_[name] = Process::Start(command, StrCat(root_, "/", name, ".log"));
  ASSERT_FALSE(AwaitFile(metrics_file).empty()) << LogTail(name + ".log");
}

std::string Cluster::coordinator_metrics_address() const { return AwaitFile(root_ + "/coordinator.metrics"); }

std::string Cluster::worker_metrics_address(const std::string& name) const {
  return AwaitFile(StrCat(root_, "/", name, ".metrics"));
}

std::string Cluster::Submit(const std::string& yaml) {
  if (dataset_ref_.empty()) {
    data::PrepareOptions options;
    options.source = data::FindPythonStdlib().value();
    options.include = {"*.py"};
    options.max_bytes = 400'000;
    options.name = "stdlib";
    auto prepared = data::Prepare(options, root_ + "/artifacts/datasets");
    EXPECT_TRUE(prepared.ok()) << prepared.status();
    dataset_ref_ = prepared->ref.ToString();
  }
  v1::SubmitRequest request;
  request.set_yaml(yaml);
  request.set_owner("tester");
  request.set_idempotency_key(HashHex(yaml));
  auto* binding = request.add_datasets();
  binding->set_path("python-stdlib");
  binding->set_reference(dataset_ref_);
  binding->set_vocab_size(256);
  v1::SubmitResponse response;
  const grpc::Status status = Ask([&](grpc::ClientContext* context) { return stub_->Submit(context, request, &response); });
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.sweep_id();
}

v1::Sweep Cluster::GetSweep(const std::string& id) {
  v1::GetSweepRequest request;
  request.set_sweep_id(id);
  v1::Sweep sweep;
  const grpc::Status status = Ask([&](grpc::ClientContext* context) { return stub_->GetSweep(context, request, &sweep); });
  EXPECT_TRUE(status.ok()) << status.error_message();
  return sweep;
}

v1::RunDetail Cluster::GetRun(const std::string& id) {
  v1::GetRunRequest request;
  request.set_run_id(id);
  v1::RunDetail detail;
  const grpc::Status status = Ask([&](grpc::ClientContext* context) { return stub_->GetRun(context, request, &detail); });
  EXPECT_TRUE(status.ok()) << status.error_message();
  return detail;
}

std::vector<v1::Sample> Cluster::Samples(const std::string& run_id) {
  v1::FetchSamplesRequest request;
  request.set_run_id(run_id);
  grpc::ClientContext context;
  SetDeadline(&context);
  auto reader = stub_->FetchSamples(&context, request);
  std::vector<v1::Sample> samples;
  v1::FetchSamplesResponse response;
  while (reader->Read(&response)) samples.insert(samples.end(), response.samples().begin(), response.samples().end());
  const grpc::Status status = reader->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  return samples;
}

v1::RunSummary Cluster::AwaitRun(const std::string& sweep_id, const std::function<bool(const v1::RunSummary&)>& condition,
                                 int timeout_ms) {
  v1::RunSummary last;
  const bool held = Eventually(
      [&] {
        const v1::Sweep sweep = GetSweep(sweep_id);
        if (sweep.runs_size() == 0) return false;
        last = sweep.runs(0);
        return condition(last);
      },
      timeout_ms);
  EXPECT_TRUE(held) << last.DebugString() << "\n--- coordinator\n" << LogTail("coordinator.log");
  if (!held) {
    for (const auto& [name, process] : workers_) ADD_FAILURE() << "--- " << name << "\n" << LogTail(name + ".log");
  }
  return last;
}

v1::RunSummary Cluster::AwaitState(const std::string& sweep_id, const std::string& state, int timeout_ms) {
  return AwaitRun(sweep_id, [&state](const v1::RunSummary& run) { return run.state() == state; }, timeout_ms);
}

v1::RunSummary Cluster::AwaitStep(const std::string& sweep_id, long long step) {
  return AwaitRun(sweep_id, [step](const v1::RunSummary& run) { return run.step() >= step; });
}

std::string Cluster::FinalWeights(const std::string& run_id) {
  const v1::RunDetail detail = GetRun(run_id);
  const auto newest = std::max_element(
      detail.checkpoints().begin(), detail.checkpoints().end(),
      [](const v1::Checkpoint& a, const v1::Checkpoint& b) { return a.step() < b.step(); });
  if (newest == detail.checkpoints().end()) {
    ADD_FAILURE() << "no checkpoint of " << run_id;
    return "";
  }
  return ReadFile(StrCat(root_, "/artifacts/", newest->path(), "/model.safetensors")).value_or("");
}

std::vector<pid_t> Cluster::GangProcesses(const std::string& program) {
  std::vector<pid_t> pids = FindProcesses({root_ + "/", "/attempts/"});
  // By what it runs, not by its arguments: mpirun's name the trainer too.
  std::erase_if(pids, [&program](pid_t pid) { return !program.empty() && ProgramOf(pid) != program; });
  return pids;
}

std::string Cluster::LogTail(const std::string& file) const {
  const std::string text = ReadFile(StrCat(root_, "/", file)).value_or("(no log)");
  return text.size() > 3000 ? text.substr(text.size() - 3000) : text;
}

std::string SmallSweep(const std::string& name, const std::string& variant, int steps, int ranks,
                       const std::string& extra_train) {
  return StrCat("name: ", name, "\ndata:\n  path: python-stdlib\n  tokenizer: bytes\nmodel:\n  n_layer: 2\n  n_head: 2\n",
                "  n_embd: 32\n  init_std: 0.07\nvariants:\n  - preset: ", variant, "\ntrain:\n  steps: ", steps,
                "\n  batch_size: 4\n  context: 32\n  lr: 0.001\n  eval_interval_steps: 50\n", extra_train,
                "resources:\n  ranks_per_machine: ", ranks, "\n");
}

}  // namespace entrain::testing
