// Runs a text script against the core. One command a line, `#` begins a comment; README in tests/scenarios.
#pragma once

#include <string>
#include <vector>

namespace entrain::core {

// What failed, each with its line; empty when the scenario holds, all invariants held after every line and every run ended that could.
std::vector<std::string> RunScenario(const std::string& script);

}  // namespace entrain::core
