#include "tests/compatibility/schema.h"

#include "base/strings.h"
#include "entrain/journal/v1/journal.pb.h"
#include "entrain/v1/artifact_service.pb.h"
#include "entrain/v1/common.pb.h"
#include "entrain/v1/fleet_service.pb.h"
#include "entrain/v1/peer_service.pb.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::compatibility {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::MethodDescriptor;

std::string TypeOf(const FieldDescriptor& field) {
  if (field.message_type() != nullptr) return field.message_type()->full_name();
  if (field.enum_type() != nullptr) return field.enum_type()->full_name();
  return field.type_name();
}

void AddMessage(const Descriptor& message, std::set<std::string>* lines) {
  for (int i = 0; i < message.field_count(); ++i) lines->insert(LineOf(*message.field(i)));
  for (int i = 0; i < message.nested_type_count(); ++i) AddMessage(*message.nested_type(i), lines);
  for (int e = 0; e < message.enum_type_count(); ++e) {
    const auto& values = *message.enum_type(e);
    for (int i = 0; i < values.value_count(); ++i) lines->insert(StrCat(values.full_name(), " = ", values.value(i)->number(), " ", values.value(i)->name()));
  }
}

std::string LineOf(const MethodDescriptor& method) {
  return StrCat(method.service()->full_name(), " ", method.name(), method.client_streaming() ? " stream " : " ", method.input_type()->full_name(),
                method.server_streaming() ? " stream " : " ", method.output_type()->full_name());
}

void AddFile(const FileDescriptor& file, std::set<std::string>* lines) {
  for (int i = 0; i < file.message_type_count(); ++i) AddMessage(*file.message_type(i), lines);
  for (int s = 0; s < file.service_count(); ++s) {
    for (int i = 0; i < file.service(s)->method_count(); ++i) lines->insert(LineOf(*file.service(s)->method(i)));
  }
}

}  // namespace

std::string LineOf(const FieldDescriptor& field) {
  return StrCat(field.containing_type()->full_name(), " ", field.number(), field.is_repeated() ? " repeated " : " ", TypeOf(field), " ", field.name());
}

std::set<std::string> SchemaLines() {
  std::set<std::string> lines;
  for (const FileDescriptor* file :
       {v1::Checkpoint::descriptor()->file(), v1::SubmitRequest::descriptor()->file(), v1::Hello::descriptor()->file(),
        v1::PrepareRequest::descriptor()->file(), v1::FindFolderRequest::descriptor()->file(), journal::v1::Event::descriptor()->file()}) {
    AddFile(*file, &lines);
  }
  return lines;
}

}  // namespace entrain::compatibility
