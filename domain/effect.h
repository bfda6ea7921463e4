// Effects: messages that leave after their facts are durable. Idempotent, and derivable from the state: losing one is harmless.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "base/ids.h"
#include "domain/event.h"
#include "domain/fleet.h"
#include "domain/sample.h"

namespace entrain::domain {

struct LaunchAttempt {
  WorkerId worker;  // the gang's head
  AttemptKey key;
  Gang gang;
  std::shared_ptr<const RunSpec> spec;  // of the run; never null
  Checkpoint resume_from;
  bool changed_settings = false;  // the checkpoint was written under other settings
};
struct StopAttempt {
  WorkerId worker;
  AttemptKey key;
  StopMode mode = StopMode::kCheckpoint;
  std::string reason;
};
// The attempt was replaced or is unknown here: end it at once and drop what it holds.
struct ForgetAttempt {
  WorkerId worker;
  AttemptKey key;
};
struct AcknowledgeReport {
  WorkerId worker;
  std::uint64_t report = 0;
};
// To the sample lane: the attempt ended at `last_step`; say RunJudged once everything up to it is judged.
struct JudgeThrough {
  AttemptKey key;
  std::int64_t last_step = 0;
};
// To the sample lane: a new attempt of the run starts after `resume_step`; its samples replace later ones of earlier attempts.
struct BeginAttempt {
  AttemptKey key;
  std::int64_t resume_step = 0;
};
struct Reply {
  RequestId request = 0;
  absl::Status status;
  // The id asked for: a sweep's (submit) or a run's (retry).
  std::string id;
};

using Effect = std::variant<LaunchAttempt, StopAttempt, ForgetAttempt, AcknowledgeReport, JudgeThrough, BeginAttempt, Reply>;

}  // namespace entrain::domain
