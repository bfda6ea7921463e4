// The trainer without a worker: on a laptop, or under a plain mpirun or srun.
#pragma once

#include <cstdint>
#include <string>

namespace entrain::trainer {

struct StandaloneOptions {
  std::string config_path;  // run.json
  std::string dataset_dir;
  std::string out_dir;      // attempt folders are made below it: attempt-0001, attempt-0002, ...
  std::string resume_dir;
  std::string init_dir;
  std::string device = "cpu";  // or "cuda": rank i on GPU i
  std::string collective;   // empty: single, or under a launcher mpi (on GPUs nccl)
  std::int64_t threads_per_rank = 0;  // 0: as run.json says
  std::int64_t keep_checkpoints = 2;
  bool allow_inexact_resume = false;
};

// The exit code.
int RunStandalone(const StandaloneOptions& options);

}  // namespace entrain::trainer
