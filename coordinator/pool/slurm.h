// Machines from Slurm: a job an allocation, a worker a node, started by a batch script that we write.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/pool/command.h"
#include "coordinator/pool/pool_file.h"
#include "coordinator/pool/provider.h"

namespace entrain::pool {

// The section `slurm` of a pool file. Paths of programs, certificates and folders are those on the nodes.
struct SlurmSettings {
  std::string worker;                     // entrain-worker
  std::vector<std::string> coordinators;  // HOST:PORT
  std::string artifacts;                  // that the nodes share with the coordinator; empty: nothing is shared
  std::string state_dir = "/tmp";         // on the node's own disk; each worker has a folder of its own in it
  std::string log_dir = "/tmp";           // where Slurm writes a job's output
  std::string tls_ca;
  std::string tls_cert;
  std::string tls_key;
  std::string metrics = "127.0.0.1:0";    // of the workers
  std::int64_t drain_seconds = 120;       // that a worker may take to stop its gangs at a checkpoint
  std::vector<std::string> worker_options;
  std::string prelude;                    // a file that the script sources first; empty: none

  std::int64_t cpus_per_slot = 1;
  std::string gpu_type;                   // of --gres=gpu:TYPE:N; empty: any
  std::string partition;
  std::string account;
  std::string qos;
  std::string time_limit;                 // as Slurm takes it; empty: the partition's
  std::vector<std::string> options;       // further options of sbatch

  std::string bin = "/usr/bin";           // where sbatch, squeue and scancel are here
  std::string conf;                       // SLURM_CONF; empty: Slurm's own default
  friend bool operator==(const SlurmSettings&, const SlurmSettings&) = default;
};

// INVALID_ARGUMENT lists every problem with its place.
absl::StatusOr<SlurmSettings> ReadSlurmSettings(const PoolFile& file);

// The batch script. Of what it holds nothing comes from a client; every value is quoted.
std::string SlurmScript(const PoolFile& file, const SlurmSettings& settings);
// sbatch's arguments for a job of so many nodes, the program first.
std::vector<std::string> SbatchArguments(const PoolFile& file, const SlurmSettings& settings, std::int64_t nodes);

struct SlurmJob {
  std::string id;
  std::string state;  // as squeue names it: "RUNNING"
  std::int64_t nodes = 1;
  std::string reason;
};
// The lines of `squeue --format=%A|%T|%D|%r|%k` whose comment is this pool's. INTERNAL for a line that is none.
absl::StatusOr<std::vector<SlurmJob>> ParseJobs(std::string_view output, const std::string& comment);
// Jobs that are over give none.
std::vector<PoolMachine> MachinesOf(const std::vector<SlurmJob>& jobs, const std::string& worker_prefix);
// Of every job and machine of the pool.
std::string SlurmJobName(const PoolFile& file);
std::string SlurmComment(const PoolFile& file);

absl::StatusOr<std::unique_ptr<PoolProvider>> MakeSlurmProvider(const PoolFile& file, const Clock* clock);

}  // namespace entrain::pool
