// The stored events decided again: a build that changes what the core decides shows up as the first fact that differs. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/core/state.h"
#include "coordinator/store/history.h"

namespace entrain::server {

struct Redecision {
  std::int64_t events = 0;  // decided
  std::int64_t facts = 0;   // that were the same
  std::int64_t first_event = 1;  // where it started; 0: nowhere to start
  std::string difference;  // sentences about the first one; empty: none
};

// `config` as the coordinator had it.
Redecision Redecide(const store::History& history, const core::CoreConfig& config);

// Lines for people.
std::string TextOf(const Redecision& result);

}  // namespace entrain::server
