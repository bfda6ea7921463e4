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

}  // namespace
}  // namespace entrain::launcher
