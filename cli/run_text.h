// One run in words: what `describe` and `explain` say.
#pragma once

#include <string>

#include "cli/colour.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::cli {

// All that is known of a run, in sections.
std::string DescribeRun(const v1::RunDetail& run, Colour colour);

// Why the run is where it is: one sentence, then the evidence and the way there.
std::string ExplainRun(const v1::RunDetail& run, Colour colour);

// "layer 5: heads 0-3; layer 4: head 1" of heads given as layer * n_head + head.
std::string HeadsText(const google::protobuf::RepeatedField<std::int32_t>& heads, int n_head);

}  // namespace entrain::cli
