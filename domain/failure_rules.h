// What a failure means for its run and for the machine it happened on: one row a class.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "domain/run_state.h"

namespace entrain::domain {

enum class Retry {
  kNever,
  kIfAsked,  // never, unless retries.out_of_memory is set: then kCounted
  kCounted,  // up to retries.max_failures, after a pause that doubles
  kAlways,   // not the run's failure: without limit, as long as it gets further now and then
};

struct FailureRule {
  FailureClass failure = FailureClass::kNone;
  Retry retry = Retry::kNever;
  // The first pause, in units of CoreConfig::backoff_ms.
  std::int64_t first_pauses = 1;
  // Repeated, it puts the machine into quarantine.
  bool strikes_machine = false;
  std::string_view text;  // the rule for people
};

inline constexpr std::array kFailureRules = {
    FailureRule{FailureClass::kNone, Retry::kAlways, 0, false, "not a failure: queued again"},
    FailureRule{FailureClass::kUserError, Retry::kNever, 0, false, "never retried: the configuration or its data must change"},
    FailureRule{FailureClass::kOutOfMemory, Retry::kIfAsked, 1, false,
                "not retried: the same run needs the same memory (retries.out_of_memory: true retries it up to retries.max_failures)"},
    FailureRule{FailureClass::kLostMachine, Retry::kAlways, 1, false, "not the run's failure: retried without limit while it gets further"},
    FailureRule{FailureClass::kStorage, Retry::kCounted, 5, false, "retried up to retries.max_failures, after longer pauses"},
    FailureRule{FailureClass::kLaunch, Retry::kCounted, 1, true, "retried up to retries.max_failures; repeated on a machine, it is quarantined"},
    FailureRule{FailureClass::kCrash, Retry::kCounted, 1, false, "retried up to retries.max_failures"},
    FailureRule{FailureClass::kDevice, Retry::kCounted, 1, true, "retried up to retries.max_failures; repeated on a machine, it is quarantined"},
    FailureRule{FailureClass::kStalled, Retry::kCounted, 1, false, "ended by limits.stall_limit_s; retried up to retries.max_failures"},
    FailureRule{FailureClass::kTimeLimit, Retry::kNever, 0, false, "ended by limits.max_duration_s; never retried"},
};

constexpr const FailureRule& RuleOf(FailureClass failure) {
  for (const FailureRule& rule : kFailureRules) {
    if (rule.failure == failure) return rule;
  }
  return kFailureRules[0];
}

}  // namespace entrain::domain
