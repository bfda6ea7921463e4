// The messages of any method as this build knows them, by the method's name on the wire.
#pragma once

#include <google/protobuf/message.h>

#include <memory>
#include <string>

#include "tests/compatibility/conversation.h"

namespace entrain::compatibility {

// What the caller (kHeard) or the server (kSaid) says, empty; null when this build has no such method.
std::unique_ptr<google::protobuf::Message> NewMessage(const std::string& method, What what);
// Null when this build has no such method or cannot parse the bytes.
std::unique_ptr<google::protobuf::Message> Parse(const std::string& method, What what, const std::string& bytes);

// Whether its caller may say several; false for methods that this build does not have.
bool HasManyRequests(const std::string& method);

}  // namespace entrain::compatibility
