#pragma once

#include <string>

namespace entrain::collective {

// Runs a program of the build's bin folder as a gang under mpirun, `arguments` a shell's; its exit code (-1: ended by a signal), with
// everything it printed in `output`.
int RunRanks(const std::string& program, const std::string& arguments, int ranks, std::string* output);

}  // namespace entrain::collective
