// A pool's provider at a real socket, driven by a script: one command a line on standard input, one JSON object a line on standard output.
//   kubernetes_pool_probe POOL_FILE CALL_LIMIT_MS
//   list | grow N [RUN MACHINES RANKS] | release ID UNIT [ID UNIT ...]
#include <chrono>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/pool/kubernetes_pool.h"

namespace entrain::pool {
namespace {

nlohmann::json Told(const absl::Status& status) {
  return {{"status", absl::StatusCodeToString(status.code())}, {"message", std::string(status.message())}};
}

nlohmann::json Listed(PoolProvider* provider) {
  const auto machines = provider->List();
  nlohmann::json answer = Told(machines.status());
  if (!machines.ok()) return answer;
  answer["machines"] = nlohmann::json::array();
  for (const PoolMachine& machine : *machines) {
    const char* const states[] = {"pending", "up", "leaving"};
    answer["machines"].push_back({{"id", machine.id},
                                  {"unit", machine.unit},
                                  {"worker", machine.worker_name},
                                  {"state", states[static_cast<int>(machine.state)]},
                                  {"detail", machine.detail}});
  }
  return answer;
}

nlohmann::json Do(PoolProvider* provider, std::istringstream line) {
  std::string command;
  line >> command;
  if (command == "list") return Listed(provider);
  if (command == "grow") {
    std::int64_t machines = 0;
    std::string run;
    GangRequest gang;
    line >> machines;
    const bool for_gang = static_cast<bool>(line >> run >> gang.machines >> gang.ranks);
    gang.run = RunId(run);
    return Told(provider->Grow(machines, for_gang ? &gang : nullptr));
  }
  std::vector<PoolMachine> machines;
  for (PoolMachine machine; line >> machine.id >> machine.unit;) machines.push_back(machine);
  return Told(provider->Release(machines));
}

absl::StatusOr<std::unique_ptr<PoolProvider>> Open(const std::string& path, std::int64_t call_limit_ms) {
  static SystemClock clock;
  const Pause pause = [](std::int64_t ms) {
    std::this_thread::sleep_for(std::chrono::milliseconds(ms));
    return true;
  };
  ENTRAIN_ASSIGN_OR_RETURN(const PoolFile file, ReadPoolFile(path));
  return MakeKubernetesPool(file, &clock, pause, call_limit_ms);
}

int Run(const std::string& path, std::int64_t call_limit_ms) {
  const absl::StatusOr<std::unique_ptr<PoolProvider>> provider = Open(path, call_limit_ms);
  std::cout << Told(provider.status()) << std::endl;
  if (!provider.ok()) return 1;
  for (std::string line; std::getline(std::cin, line);) std::cout << Do(provider->get(), std::istringstream(line)) << std::endl;
  return 0;
}

}  // namespace
}  // namespace entrain::pool

int main(int argc, char** argv) {
  if (argc != 3) return 64;
  return entrain::pool::Run(argv[1], std::stoll(argv[2]));
}
