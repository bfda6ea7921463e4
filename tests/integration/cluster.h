// The real programs on loopback, in a folder of their own: one coordinator and workers, started, killed and restarted by a test.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/security/credentials.h>

#include "entrain/v1/sweep_service.grpc.pb.h"
#include "tests/integration/process.h"

namespace entrain::testing {

// TCP ports of loopback that nothing listens on; held until all are known, so that they differ.
std::vector<int> FreePorts(int count);

class Cluster {
 public:
  // `lease_ms` short, so that a lost worker is noticed within a test.
  explicit Cluster(const std::string& name, int lease_ms = 4'000);
  ~Cluster();

  // Further flags for coordinators that are started from here on.
  void GiveCoordinator(std::vector<std::string> flags) { coordinator_flags_ = std::move(flags); }
  // How this test, a person, speaks to it; plain text without.
  void SpeakWith(std::shared_ptr<grpc::ChannelCredentials> credentials) { credentials_ = std::move(credentials); }
  // The first start takes a free port; later ones take the same again, as a restarted service would.
  void StartCoordinator();
  // Instead: two coordinators on one PostgreSQL store, of which one leads; workers and the stub know both addresses.
  void StartPair(const std::string& store_url, int leader_lease_ms);
  // One of "c1" and "c2"; it stands by while the other leads.
  void StartMember(const std::string& name);
  Process& member(const std::string& name) { return members_.at(name); }
  // True once the member serves (and since its start).
  bool Leads(const std::string& name) const;
  const std::string& member_address(const std::string& name) const { return member_addresses_.at(name); }
  // It shares the coordinator's artifact root, or nothing.
  void StartWorker(const std::string& name, int slots, bool shares_root = true);
  Process& coordinator() { return coordinator_; }
  Process& worker(const std::string& name) { return workers_.at(name); }
  std::string coordinator_metrics_address() const;
  std::string worker_metrics_address(const std::string& name) const;
  const std::string& root() const { return root_; }
  const std::string& address() const { return address_; }

  // Prepares a little of the Python standard library (once a cluster) and submits the sweep with it as its data.
  std::string Submit(const std::string& yaml);
  v1::Sweep GetSweep(const std::string& id);
  v1::RunDetail GetRun(const std::string& id);
  v1::ListWorkersResponse Workers();
  // All samples that count, in step order.
  std::vector<v1::Sample> Samples(const std::string& run_id);
  // Waits until the first run of the sweep satisfies the condition; fails the test otherwise, with the run and the logs' tails.
  v1::RunSummary AwaitRun(const std::string& sweep_id, const std::function<bool(const v1::RunSummary&)>& condition,
                          int timeout_ms = 60'000);
  v1::RunSummary AwaitState(const std::string& sweep_id, const std::string& state, int timeout_ms = 120'000);
  v1::RunSummary AwaitStep(const std::string& sweep_id, long long step);
  // model.safetensors of the run's newest checkpoint, as bytes.
  std::string FinalWeights(const std::string& run_id);
  // Processes of this cluster's gangs (supervisors, mpirun, trainers).
  std::vector<pid_t> GangProcesses(const std::string& program = "");
  std::string LogTail(const std::string& file) const;
  v1::SweepService::Stub& stub() { return *stub_; }
  // Speaks to these only, from here on.
  void TalkTo(const std::string& addresses);

 private:
  std::string root_;
  int lease_ms_;
  std::string address_ = "127.0.0.1:0";
  std::vector<std::string> coordinator_flags_;
  std::shared_ptr<grpc::ChannelCredentials> credentials_ = grpc::InsecureChannelCredentials();
  std::string store_url_;
  int leader_lease_ms_ = 0;
  std::map<std::string, std::string> member_addresses_;
  std::map<std::string, Process> members_;
  std::string dataset_ref_;
  Process coordinator_;
  std::map<std::string, Process> workers_;
  std::unique_ptr<v1::SweepService::Stub> stub_;
};

// A sweep of one small run. `extra` is added under `train:`; lines are indented by two spaces.
std::string SmallSweep(const std::string& name, const std::string& variant, int steps, int ranks,
                       const std::string& extra_train = "");

}  // namespace entrain::testing
