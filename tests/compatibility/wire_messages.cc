#include "tests/compatibility/wire_messages.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "entrain/v1/artifact_service.pb.h"
#include "entrain/v1/fleet_service.pb.h"
#include "entrain/v1/peer_service.pb.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::compatibility {
namespace {

using google::protobuf::Message;

// Named here so that the linker keeps their files.
void KeepServices() {
  v1::FindFolderRequest::descriptor();
  v1::Hello::descriptor();
  v1::PrepareRequest::descriptor();
  v1::SubmitRequest::descriptor();
}

// Null: this build has none of the name.
const google::protobuf::MethodDescriptor* FindMethod(const std::string& method) {
  KeepServices();
  // "/entrain.v1.FleetService/Control" is called entrain.v1.FleetService.Control there.
  std::string name = method.empty() ? "" : method.substr(1);
  std::replace(name.begin(), name.end(), '/', '.');
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
}

}  // namespace

bool HasManyRequests(const std::string& method) {
  const auto* descriptor = FindMethod(method);
  return descriptor != nullptr && descriptor->client_streaming();
}

std::unique_ptr<Message> NewMessage(const std::string& method, What what) {
  const auto* descriptor = FindMethod(method);
  if (descriptor == nullptr) return nullptr;
  const auto* type = what == What::kHeard ? descriptor->input_type() : descriptor->output_type();
  return std::unique_ptr<Message>(google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

std::unique_ptr<Message> Parse(const std::string& method, What what, const std::string& bytes) {
  std::unique_ptr<Message> message = NewMessage(method, what);
  if (message != nullptr && !message->ParseFromString(bytes)) return nullptr;
  return message;
}

}  // namespace entrain::compatibility
