#include <cstdlib>

#include "cli/program.h"

int main(int argc, char** argv) {
  // `entrain local` forks children and executes programs at once; gRPC's own handling of forks would only get in the way.
  ::setenv("GRPC_ENABLE_FORK_SUPPORT", "0", 0);
  return entrain::cli::RunProgram(argc, argv);
}
