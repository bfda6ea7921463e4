// Recovery on two cores: one thread reads and decodes the journal while the caller applies what was read.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "coordinator/store/store.h"

namespace entrain::server {

// As Journal::Replay. `apply` is called on this thread alone; the journal is used by the other one, until this returns.
absl::Status ReplayAhead(store::Journal* journal, const std::function<void(domain::Fact)>& apply);

}  // namespace entrain::server
