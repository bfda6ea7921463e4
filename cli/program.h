// The whole command line: every command in its place, parsed and run.
#pragma once

#include <memory>

#include "CLI/CLI.hpp"
#include "cli/session.h"

namespace entrain::cli {

// The program's description with all commands; `session` must outlive it.
std::unique_ptr<CLI::App> MakeProgram(Session* session);

// Parses and runs; the exit code.
int RunProgram(int argc, const char* const* argv);

}  // namespace entrain::cli
