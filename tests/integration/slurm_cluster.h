// A real Slurm on loopback in a folder of its own: munged, slurmctld and two nodes of two processors, as the user who runs the test.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace entrain::testing {

class SlurmCluster {
 public:
  // Why there can be none: "slurm is not installed (...)"; empty: there can.
  static std::string Missing();

  explicit SlurmCluster(const std::string& root);
  // Ends every job first.
  ~SlurmCluster();
  SlurmCluster(const SlurmCluster&) = delete;
  SlurmCluster& operator=(const SlurmCluster&) = delete;

  const std::string& conf() const { return conf_; }
  // Jobs by id, with their state as squeue names it; those that are over are left out.
  std::map<std::string, std::string> Jobs() const;
  // What a command of Slurm prints; fails the test when it ends with an error.
  std::string Run(const std::vector<std::string>& command) const;
  // The output of every job so far, and the daemons' last words.
  std::string Logs() const;
  // Of this machine, short.
  std::string host() const;
  // What the command prints, without the newline.
  std::string Trimmed(const std::vector<std::string>& command) const;
  const std::string& job_logs() const { return job_logs_; }

 private:
  void WriteConf();
  std::vector<std::string> Environment() const;

  std::string root_;
  std::string conf_;
  std::string job_logs_;
  Process munged_;
  Process controller_;
  std::vector<Process> nodes_;
};

}  // namespace entrain::testing
