// What a server and its callers said to each other, message by message, as bytes of the wire.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::compatibility {

enum class What {
  kOpened,     // a call began; bytes: its method, "/entrain.v1.FleetService/Control"
  kHeard,      // the caller said this
  kClosed,     // the caller will say no more
  kLeft,       // the caller broke the call off
  kSaid,       // the server said this
  kEnded,      // the server ended the call; bytes: the status' number
  kStopping,   // the server is about to be told to end; of no call
  kRestarted,  // it had ended, and will be started again; of no call
};

struct Record {
  int call = 0;
  What what = What::kHeard;
  std::string bytes;
};

// One record a line: CALL WHAT BYTES. Bytes of messages are in base 64.
std::string TextOf(const std::vector<Record>& records);
// DATA_LOSS names the line.
absl::StatusOr<std::vector<Record>> ParseRecords(const std::string& text);

}  // namespace entrain::compatibility
