#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/pool/slurm.h"

namespace entrain::pool {
namespace {

const std::set<std::string_view> kOver = {"CANCELLED", "COMPLETED", "FAILED",  "TIMEOUT",  "NODE_FAIL", "OUT_OF_MEMORY",
                                          "BOOT_FAIL", "DEADLINE",  "PREEMPTED", "REVOKED"};
const std::set<std::string_view> kNotYet = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"};

constexpr std::size_t kFields = 5;

// The last field may hold the separator.
std::array<std::string_view, kFields> FieldsOf(std::string_view line) {
  std::array<std::string_view, kFields> fields;
  for (std::size_t i = 0; i < kFields; ++i) {
    const std::size_t end = i + 1 == kFields ? line.size() : std::min(line.find('|'), line.size());
    fields[i] = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return fields;
}

bool IsNumber(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

PoolMachine::State StateOf(const std::string& state) {
  if (kNotYet.contains(state)) return PoolMachine::State::kPending;
  return state == "COMPLETING" ? PoolMachine::State::kLeaving : PoolMachine::State::kUp;
}

}  // namespace

absl::StatusOr<std::vector<SlurmJob>> ParseJobs(std::string_view output, const std::string& comment) {
  std::vector<SlurmJob> jobs;
  while (!output.empty()) {
    const std::size_t end = std::min(output.find('\n'), output.size());
    const std::string_view line = output.substr(0, end);
    output.remove_prefix(std::min(end + 1, output.size()));
    if (line.empty()) continue;
    const auto [id, state, nodes, reason, said] = FieldsOf(line);
    SlurmJob job{.id = std::string(id), .state = std::string(state), .nodes = 0, .reason = std::string(reason)};
    const auto [rest, error] = std::from_chars(nodes.data(), nodes.data() + nodes.size(), job.nodes);
    if (!IsNumber(id) || error != std::errc() || rest != nodes.data() + nodes.size() || job.nodes < 1) {
      return absl::InternalError(StrCat("squeue printed a line that is none of a job: ", line.substr(0, 200)));
    }
    if (said == comment) jobs.push_back(std::move(job));
  }
  return jobs;
}

std::vector<PoolMachine> MachinesOf(const std::vector<SlurmJob>& jobs, const std::string& worker_prefix) {
  std::vector<PoolMachine> machines;
  for (const SlurmJob& job : jobs) {
    if (kOver.contains(job.state)) continue;
    const PoolMachine::State state = StateOf(job.state);
    const bool plain = job.state == "RUNNING" || job.state == "COMPLETING" || job.state == "PENDING";
    std::string detail = plain ? "" : job.state;
    if (job.reason != "None" && !job.reason.empty()) StrAppend(&detail, detail.empty() ? "" : ", ", job.reason);
    for (std::int64_t node = 0; node < job.nodes; ++node) {
      machines.push_back({.id = job.nodes == 1 ? job.id : StrCat(job.id, ".", node),
                          .unit = job.id,
                          .worker_name = StrCat(worker_prefix, job.id, "-", node),
                          .state = state,
                          .detail = detail});
    }
  }
  return machines;
}

}  // namespace entrain::pool
