// What a worker sends over gRPC, from bytes to domain values: the first byte picks the message. What is accepted converts back and forth
// without a change, and its sizes keep within the limits of proto/convert.h.
#include "base/check.h"
#include "proto/convert.h"
#include "tests/fuzz/fuzz.h"

namespace {

using entrain::fuzz::TextOf;
namespace v1 = entrain::v1;
namespace wire = entrain::wire;

template <typename Message>
void Convert(std::string_view bytes) {
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  const auto value = wire::FromWire(message);
  if (!value.ok()) return;
  const auto again = wire::ToWire(*value);
  const auto reread = wire::FromWire(again);
  ENTRAIN_CHECK(reread.ok());
  ENTRAIN_CHECK(wire::ToWire(*reread).SerializeAsString() == again.SerializeAsString());
}

void ConvertControl(std::string_view bytes) {
  v1::WorkerMessage message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  wire::FromWire(message.hello()).IgnoreError();
  wire::FromWire(message.ended()).IgnoreError();
  wire::FromWire(message.checkpoint().key()).IgnoreError();
  wire::FromWire(message.checkpoint().checkpoint()).IgnoreError();
}

void ConvertBatch(std::string_view bytes) {
  v1::SampleBatch batch;
  if (!batch.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  wire::FromWire(batch.key()).IgnoreError();
  for (const v1::Sample& sample : batch.samples()) {
    const auto value = wire::FromWire(sample);
    ENTRAIN_CHECK(!value.ok() || value->entropy_nats.size() <= static_cast<std::size_t>(wire::kMaxHeads));
  }
  for (const v1::Evaluation& evaluation : batch.evaluations()) wire::FromWire(evaluation).IgnoreError();
}

void ConvertGang(std::string_view bytes) {
  v1::Launch launch;
  if (launch.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) wire::FromWire(launch.gang()).IgnoreError();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest = TextOf(bytes + 1, size - 1);
  switch (bytes[0] % 9) {
    case 0: ConvertControl(rest); break;
    case 1: ConvertBatch(rest); break;
    case 2: ConvertGang(rest); break;
    case 3: Convert<v1::Sample>(rest); break;
    case 4: Convert<v1::Evaluation>(rest); break;
    case 5: Convert<v1::Checkpoint>(rest); break;
    case 6: Convert<v1::Verdict>(rest); break;
    case 7: Convert<v1::AttemptEnded>(rest); break;
    default: Convert<v1::Hello>(rest); break;
  }
  return 0;
}
