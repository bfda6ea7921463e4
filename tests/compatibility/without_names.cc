#include "base/build_id.h"
#include "entrain/v1/fleet_service.pb.h"
#include "tests/compatibility/tap.h"
#include "tests/compatibility/wire_messages.h"

namespace entrain::compatibility {
namespace {

void SetText(google::protobuf::Message* message, const char* name, const char* text) {
  const auto* field = message->GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || message->GetReflection()->GetString(*message, field).empty()) return;
  message->GetReflection()->SetString(message, field, text);
}

}  // namespace

std::string WithoutNames(const std::string& method, What what, const std::string& bytes) {
  const auto message = Parse(method, what, bytes);
  if (message == nullptr || what != What::kHeard) return bytes;
  if (auto* said = dynamic_cast<v1::WorkerMessage*>(message.get()); said != nullptr && said->has_hello()) {
    said->mutable_hello()->set_device("a processor");
    said->mutable_hello()->set_version(std::string(Version()));
    return said->SerializeAsString();
  }
  const std::string before = message->SerializeAsString();
  SetText(message.get(), "owner", "ada");
  SetText(message.get(), "by", "ada");
  return message->SerializeAsString() == before ? bytes : message->SerializeAsString();
}

}  // namespace entrain::compatibility
