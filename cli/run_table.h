// Tables of runs and states, as several commands print them.
#pragma once

#include <string>

#include "cli/colour.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::cli {

std::string RunTable(const v1::Sweep& sweep, Colour colour);
// "2 running, 1 succeeded".
std::string CountsText(const v1::SweepSummary& sweep);
// "halted (collapse)".
std::string StateText(const v1::RunSummary& run);
Style StyleOfState(const std::string& state);

}  // namespace entrain::cli
