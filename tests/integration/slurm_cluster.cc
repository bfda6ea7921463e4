#include "tests/integration/slurm_cluster.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "base/random.h"
#include "base/strings.h"
#include "coordinator/pool/command.h"
#include "tests/integration/cluster.h"

namespace entrain::testing {
namespace {

constexpr int kNodes = 2;
constexpr char kBin[] = "/usr/bin/";
constexpr char kSbin[] = "/usr/sbin/";

std::string HostName() {
  char name[256] = "localhost";
  ::gethostname(name, sizeof(name) - 1);
  return std::string(name).substr(0, std::string(name).find('.'));
}

std::string UserName() {
  const passwd* user = ::getpwuid(::geteuid());
  return user == nullptr ? "root" : user->pw_name;
}

std::string Tail(const std::string& path, std::size_t bytes) {
  const std::string text = ReadFile(path).value_or("");
  return StrCat("--- ", path, "\n", text.size() > bytes ? text.substr(text.size() - bytes) : text);
}

}  // namespace

std::string SlurmCluster::Missing() {
  for (const std::string program : {"/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/sbatch", "/usr/bin/srun"}) {
    if (::access(program.c_str(), X_OK) != 0) return StrCat("slurm is not installed (no ", program, "); scripts/setup --tests installs it");
  }
  return "";
}

SlurmCluster::SlurmCluster(const std::string& root) : root_(root), conf_(root + "/slurm.conf"), job_logs_(root + "/jobs") {
  std::filesystem::remove_all(root_);
  EXPECT_TRUE(MakeFolders(root_ + "/state").ok());
  EXPECT_TRUE(MakeFolders(job_logs_).ok());
  SystemIdSource ids;
  std::string key;
  while (key.size() < 1024) key += ids.Next(20);
  EXPECT_TRUE(WriteFileAtomically(root_ + "/munge.key", key).ok());
  ::chmod((root_ + "/munge.key").c_str(), 0600);
  WriteConf();
  munged_ = Process::Start({StrCat(kSbin, "munged"), "--foreground", "--force", "--socket=" + root_ + "/munge.socket", "--key-file=" + root_ + "/munge.key",
                            "--pid-file=" + root_ + "/munged.pid", "--seed-file=" + root_ + "/munged.seed", "--log-file=" + root_ + "/munged.log"},
                           root_ + "/munged.out");
  EXPECT_TRUE(Eventually([this] { return std::filesystem::exists(root_ + "/munge.socket"); })) << Logs();
  controller_ = Process::Start({StrCat(kSbin, "slurmctld"), "-D", "-f", conf_}, root_ + "/slurmctld.out");
  for (int node = 1; node <= kNodes; ++node) {
    nodes_.push_back(Process::Start({StrCat(kSbin, "slurmd"), "-D", "-N", StrCat("n", node), "-f", conf_}, StrCat(root_, "/slurmd-", node, ".out")));
  }
  const bool up = Eventually([this] {
    const auto idle = pool::RunCommand({StrCat(kBin, "sinfo"), "--noheader", "--states=idle", "--partition=main", "--format=%D"}, Environment(), "", 30'000);
    return idle.ok() && idle->output == StrCat(kNodes, "\n");
  });
  EXPECT_TRUE(up) << Logs();
}

SlurmCluster::~SlurmCluster() {
  pool::RunCommand({StrCat(kBin, "scancel"), "--user=" + UserName()}, Environment(), "", 30'000).IgnoreError();
  Eventually([this] { return Jobs().empty(); });
  for (Process& node : nodes_) node.KillNow();
  controller_.KillNow();
  munged_.KillNow();
}

void SlurmCluster::WriteConf() {
  const std::vector<int> ports = FreePorts(1 + kNodes);
  const std::string host = HostName();
  std::string conf = StrCat(
      "ClusterName=test\nSlurmctldHost=", host, "(127.0.0.1)\nSlurmUser=", UserName(), "\nSlurmdUser=", UserName(), "\nSlurmctldPort=", ports[0],
      "\nAuthType=auth/munge\nAuthInfo=socket=", root_, "/munge.socket\nCredType=cred/munge\nStateSaveLocation=", root_, "/state\nSlurmdSpoolDir=", root_,
      "/spool-%n\nSlurmctldPidFile=", root_, "/slurmctld.pid\nSlurmdPidFile=", root_, "/slurmd-%n.pid\nSlurmctldLogFile=", root_,
      "/slurmctld.log\nSlurmdLogFile=", root_, "/slurmd-%n.log\n",
      "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSchedulerType=sched/backfill\n"
      "SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1\nMpiDefault=none\nReturnToService=2\nJobAcctGatherType=jobacct_gather/none\n"
      "AccountingStorageType=accounting_storage/none\nJobCompType=jobcomp/none\nSwitchType=switch/none\nKillWait=3\n"
      "SlurmdParameters=config_overrides\n");
  for (int node = 1; node <= kNodes; ++node) {
    StrAppend(&conf, "NodeName=n", node, " NodeHostname=", host, " NodeAddr=127.0.0.1 Port=", ports[static_cast<std::size_t>(node)], " CPUs=2 State=UNKNOWN\n");
  }
  StrAppend(&conf, "PartitionName=main Nodes=n[1-", kNodes, "] Default=YES MaxTime=60 State=UP\nPartitionName=short Nodes=n1 MaxTime=1 State=UP\n");
  EXPECT_TRUE(WriteFileAtomically(conf_, conf).ok());
}

std::vector<std::string> SlurmCluster::Environment() const { return {"PATH=/usr/bin:/bin", "SLURM_CONF=" + conf_}; }

std::string SlurmCluster::Run(const std::vector<std::string>& command) const {
  std::vector<std::string> arguments = command;
  arguments[0] = StrCat(kBin, command[0]);
  const auto result = pool::RunCommand(arguments, Environment(), "", 30'000);
  EXPECT_TRUE(result.ok()) << result.status();
  if (!result.ok()) return "";
  EXPECT_EQ(result->exit_code, 0) << result->errors << Logs();
  return result->output;
}

std::string SlurmCluster::host() const { return HostName(); }

std::string SlurmCluster::Trimmed(const std::vector<std::string>& command) const {
  std::string text = Run(command);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

std::map<std::string, std::string> SlurmCluster::Jobs() const {
  std::istringstream lines(Run({"squeue", "--noheader", "--format=%A %T"}));
  std::map<std::string, std::string> jobs;
  for (std::string id, state; lines >> id >> state;) jobs[id] = state;
  return jobs;
}

std::string SlurmCluster::Logs() const {
  std::string text;
  for (const char* file : {"munged.out", "slurmctld.out", "slurmd-1.out", "slurmd-2.out"}) text += Tail(StrCat(root_, "/", file), 1'500) + "\n";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(job_logs_, ignored)) text += Tail(entry.path(), 1'500) + "\n";
  return text;
}

}  // namespace entrain::testing
