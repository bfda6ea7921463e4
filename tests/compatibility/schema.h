// The messages and services of the wire and of the journal, one line a field or method: what must never change once it was released.
#pragma once

#include <google/protobuf/descriptor.h>

#include <set>
#include <string>

namespace entrain::compatibility {

// "entrain.v1.Hello 3 string name", "entrain.v1.SweepService Watch entrain.v1.WatchRequest stream entrain.v1.WatchUpdate", ... of this build.
std::set<std::string> SchemaLines();
std::string LineOf(const google::protobuf::FieldDescriptor& field);

}  // namespace entrain::compatibility
