// Says again to a server what was said to an earlier version of it, in the recorded order, and compares the answers.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/compatibility/conversation.h"

namespace entrain::compatibility {

struct Outcome {
  int said = 0;      // messages sent
  int compared = 0;  // answers that meant the same
  std::set<std::string> methods;
  // Each with its place: the call, its method, the line of the recording.
  std::vector<std::string> differences;
};

// What is recorded as an answer to a message is awaited before the next is sent, so that nothing depends on who is faster. Calls that only
// look are made at the place of their end, and again for a while until they answer alike, since a coordinator judges samples beside its calls.
// Ends at the first difference. `restart` ends the server and starts it again; it returns the address.
Outcome Replay(const std::vector<Record>& records, const std::set<std::string>& schema, std::string address, const std::function<std::string()>& restart);

// What came after the server's last restart; calls that it cut are left out.
std::vector<Record> AfterRestart(const std::vector<Record>& records);
// The calls at the end of a conversation that only look: what people were shown when all was over.
std::vector<Record> LastLooks(const std::vector<Record>& records);

}  // namespace entrain::compatibility
