#include "tests/worker/collective/run_ranks.h"

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/random.h"
#include "gtest/gtest.h"

namespace entrain::collective {

int RunRanks(const std::string& program, const std::string& arguments, int ranks, std::string* output) {
  const std::string log = testing::TempDir() + "collective-" + SystemIdSource().Next(10);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  const std::string command = std::string(ENTRAIN_MPIRUN) + " --bind-to none --oversubscribe -np " + std::to_string(ranks) + " " +
                              ENTRAIN_BIN_DIR + "/" + program + " " + arguments + " >" + log + " 2>&1";
  const int status = std::system(command.c_str());
  std::stringstream text;
  text << std::ifstream(log).rdbuf();
  *output = text.str();
  std::remove(log.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace entrain::collective
