// A verdict as people's own services get it (v1.Notice in protobuf's JSON form).
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/core/state.h"
#include "domain/run_state.h"

namespace entrain::rpc {

// The same verdict has the same id whenever it is sent.
std::string NoticeId(const RunId& run, const domain::Verdict& verdict);
std::string NoticeJson(const core::State& state, const RunId& run, const domain::Verdict& verdict, std::int64_t wall_ms);

}  // namespace entrain::rpc
