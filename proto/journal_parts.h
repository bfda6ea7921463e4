// The values inside facts and events <-> their journal messages. Private to this room.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "domain/event.h"
#include "domain/fact.h"
#include "entrain/journal/v1/journal.pb.h"

namespace entrain::journal {

// Decoders set `*out` and report the first enumeration text that this build does not know.
void Encode(const domain::AttemptKey& value, v1::AttemptKey* out);
absl::Status Decode(const v1::AttemptKey& from, domain::AttemptKey* out);
void Encode(const domain::Gang& value, v1::Gang* out);
absl::Status Decode(const v1::Gang& from, domain::Gang* out);
void Encode(const domain::Checkpoint& value, v1::Checkpoint* out);
absl::Status Decode(const v1::Checkpoint& from, domain::Checkpoint* out);
void Encode(const domain::Verdict& value, v1::Verdict* out);
absl::Status Decode(const v1::Verdict& from, domain::Verdict* out);
void Encode(const domain::AttemptEnd& value, v1::AttemptEnd* out);
absl::Status Decode(const v1::AttemptEnd& from, domain::AttemptEnd* out);
void Encode(const domain::WorkerInfo& value, v1::WorkerInfo* out);
absl::Status Decode(const v1::WorkerInfo& from, domain::WorkerInfo* out);
void Encode(const domain::SweepSpec& value, v1::SweepSpec* out);
absl::Status Decode(const v1::SweepSpec& from, domain::SweepSpec* out);

absl::Status UnknownText(std::string_view field, std::string_view text);

}  // namespace entrain::journal
