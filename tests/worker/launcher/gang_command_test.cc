// What a gang is started with, as values.
#include "worker/launcher/gang_command.h"

#include "gmock/gmock.h"
#include "worker/launcher/runtime_folder.h"

#include <sys/stat.h>

namespace entrain::launcher {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Not;
using testing::StartsWith;

const ProgramPaths kPrograms{"/opt/bin/entrain-trainer", "/opt/bin/entrain-supervisor", "/usr/bin/mpirun"};

GangCommand CommandFor(std::int64_t world_size, const std::map<std::string, std::string>& own = {}) {
  attempt::AttemptSpec spec;
  spec.world_size = world_size;
  spec.threads_per_rank = 3;
  spec.collective = world_size == 1 ? "single" : "mpi";
  return MakeGangCommand(spec, "/a/run.1", kPrograms, RuntimePathsOf("/a/run.1", 7), own);
}

TEST(GangCommandTest, OneRankRunsWithoutMpirun) {
  EXPECT_THAT(CommandFor(1).arguments,
              ElementsAre("/opt/bin/entrain-supervisor", "exec-rank", "/opt/bin/entrain-trainer", "--attempt", "/a/run.1"));
  EXPECT_THAT(CommandFor(1).environment, Not(Contains(StartsWith("OMPI_"))));
}

TEST(GangCommandTest, SeveralRanksRunUnderMpirunUnboundAndOversubscribed) {
  const std::vector<std::string> arguments = CommandFor(4).arguments;
  EXPECT_EQ(arguments[0], "/usr/bin/mpirun");
  EXPECT_THAT(arguments, IsSupersetOf({"-np", "4", "--bind-to", "none", "--oversubscribe", "orte_abort_on_non_zero_status"}));
  EXPECT_EQ(arguments.back(), "/a/run.1");
  EXPECT_THAT(CommandFor(4).environment,
              IsSupersetOf({"OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1", "OMP_NUM_THREADS=3"}));
}

TEST(GangCommandTest, OnlyListedVariablesAreInherited) {
  const GangCommand command = CommandFor(1, {{"HOME", "/home/u"}, {"LD_PRELOAD", "/evil.so"}, {"AWS_SECRET", "s"}, {"OMPI_MCA_x", "y"}});
  EXPECT_THAT(command.environment, Contains("HOME=/home/u"));
  for (const std::string& entry : command.environment) {
    EXPECT_THAT(entry, Not(HasSubstr("evil")));
    EXPECT_THAT(entry, Not(HasSubstr("AWS")));
    EXPECT_THAT(entry, Not(HasSubstr("OMPI_MCA")));
  }
}

TEST(GangCommandTest, RuntimePathsAreShortAndDifferByFolderAndUser) {
  const std::string deep = "/" + std::string(300, 'd') + "/run.1";
  EXPECT_LT(RuntimePathsOf(deep, 1000).control_socket.size(), 60u);
  EXPECT_NE(RuntimePathsOf("/a/run.1", 0).temporary, RuntimePathsOf("/a/run.2", 0).temporary);
  EXPECT_NE(RuntimePathsOf("/a/run.1", 0).temporary, RuntimePathsOf("/a/run.1", 1).temporary);
}

TEST(RuntimeFolderTest, AFolderThatOthersCanEnterIsRefused) {
  const std::string path = testing::TempDir() + "/runtime-" + std::to_string(::getpid());
  ASSERT_TRUE(MakePrivateFolder(path).ok());
  EXPECT_TRUE(MakePrivateFolder(path).ok());
  ASSERT_EQ(::chmod(path.c_str(), 0755), 0);
  EXPECT_EQ(MakePrivateFolder(path).code(), absl::StatusCode::kPermissionDenied);
  ASSERT_EQ(::rmdir(path.c_str()), 0);
}

attempt::AttemptSpec OverTwoMachines(std::int64_t first_rank) {
  attempt::AttemptSpec spec;
  spec.world_size = 4;
  spec.collective = "mpi";
  spec.first_rank = first_rank;
  spec.slots = {0, 1};
  spec.hosts = "10.77.1.2:2,10.77.2.2:2";
  spec.network_interface = first_rank == 0 ? "net0" : "eth7";
  return spec;
}
ProgramPaths PathsForMachines() {
  ProgramPaths programs = kPrograms;
  programs.orted = "/usr/bin/orted";
  programs.rsh_agent = "/opt/bin/entrain-rsh-agent";
  return programs;
}
const OrtedParameters kParameters{903217152, 1, 2, "hosta,[2:10].77.2.2@0(2)", 56637};

TEST(GangCommandTest, TheHeadOfSeveralMachinesStartsTheOthersThroughOurAgent) {
  const GangCommand command = MakeGangCommand(OverTwoMachines(0), "/a/run.1", PathsForMachines(), RuntimePathsOf("/a/run.1", 7), {{"PATH", "/bin"}});
  EXPECT_EQ(command.arguments[0], "/usr/bin/mpirun");
  EXPECT_THAT(command.arguments, IsSupersetOf({"--host", "10.77.1.2:2,10.77.2.2:2", "plm_rsh_agent", "/opt/bin/entrain-rsh-agent",
                                               "plm_rsh_no_tree_spawn", "net0", "exec-member"}));
  // The same words on every machine: what differs is in each one's environment.
  for (const std::string& argument : command.arguments) EXPECT_THAT(argument, Not(HasSubstr("/a/run.1")));
  EXPECT_THAT(command.environment, IsSupersetOf({"ENTRAIN_TRAINER=/opt/bin/entrain-trainer", "ENTRAIN_INTERFACE=net0", "PATH=/opt/bin:/bin"}));
}

TEST(GangCommandTest, TheOtherMachinesRunOrtedBoundToTheirOwnInterface) {
  const GangCommand command = MakeGangCommand(OverTwoMachines(2), "/b/run.1", PathsForMachines(), RuntimePathsOf("/b/run.1", 7), {}, kParameters);
  EXPECT_EQ(command.arguments[0], "/usr/bin/orted");
  EXPECT_THAT(command.arguments, IsSupersetOf({"903217152.0;tcp://10.77.1.2:56637", "eth7", "hosta,[2:10].77.2.2@0(2)"}));
}

// As Open MPI 4.1.4 calls its agent.
const std::vector<std::string> kAgentWords = {
    " orted", "--daemonize", "-mca", "ess", "\"env\"", "-mca", "ess_base_jobid", "\"903217152\"", "-mca", "ess_base_vpid", "1", "-mca",
    "ess_base_num_procs", "\"2\"", "-mca", "orte_node_regex", "\"hosta,[2:10].77.2.2@0(2)\"", "-mca", "orte_hnp_uri",
    "\"903217152.0;tcp://127.0.0.1,10.77.1.2:56637\"", "--mca", "btl", "\"self,vader,tcp\"", "-mca", "plm", "\"rsh\"", "-mca", "pmix",
    "\"^s1,s2,cray,isolated\""};

TEST(OrtedTest, OfMpirunsCommandOnlyTheFewValuesAreTaken) { EXPECT_EQ(ParseOrtedCommand(kAgentWords).value(), kParameters); }

TEST(OrtedTest, EveryOtherCommandIsRefused) {
  const auto refused = [](std::size_t place, const std::string& word) {
    std::vector<std::string> words = kAgentWords;
    words[place] = word;
    return absl::IsInvalidArgument(ParseOrtedCommand(words).status());
  };
  EXPECT_TRUE(refused(0, "sh"));
  EXPECT_TRUE(refused(0, "orted;id"));
  EXPECT_TRUE(refused(1, "--tree-spawn"));
  EXPECT_TRUE(refused(3, "mca_base_component_path"));
  EXPECT_TRUE(refused(4, "slurm"));
  EXPECT_TRUE(refused(7, "\"7x\""));
  EXPECT_TRUE(refused(10, "0"));
  EXPECT_TRUE(refused(16, "\"a;id\""));
  EXPECT_TRUE(refused(19, "\"8.0;tcp://127.0.0.1:1\""));
  EXPECT_TRUE(absl::IsInvalidArgument(ParseOrtedCommand({}).status()));
  std::vector<std::string> cut(kAgentWords.begin(), kAgentWords.end() - 1);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseOrtedCommand(cut).status()));
}

}  // namespace
}  // namespace entrain::launcher
