// Wire messages <-> domain values. Decoding trusts nothing: an unknown enumeration text, an impossible number or an oversized list
// is INVALID_ARGUMENT with the field's name and the value.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "domain/effect.h"
#include "domain/fleet.h"
#include "domain/run_state.h"
#include "domain/sample.h"
#include "entrain/v1/common.pb.h"
#include "entrain/v1/fleet_service.pb.h"

namespace entrain::wire {

// Protocol versions that this build speaks, both ends included.
inline constexpr std::uint32_t kOldestProtocol = 1;
inline constexpr std::uint32_t kNewestProtocol = 1;

// Limits of one message's parts.
inline constexpr int kMaxHeads = 1 << 14;      // n_layer * n_head of one sample
inline constexpr int kMaxLayers = 1 << 12;
inline constexpr int kMaxIdBytes = 128;
inline constexpr int kMaxTextBytes = 64 << 10;  // of a message for people
inline constexpr int kMaxGangMembers = 4096;
inline constexpr int kMaxSlotsPerWorker = 4096;

v1::Sample ToWire(const domain::EntropySample& sample);
absl::StatusOr<domain::EntropySample> FromWire(const v1::Sample& sample);

v1::Evaluation ToWire(const domain::Evaluation& evaluation);
absl::StatusOr<domain::Evaluation> FromWire(const v1::Evaluation& evaluation);

v1::Checkpoint ToWire(const domain::Checkpoint& checkpoint);
// The path is relative and stays inside the artifact root; empty: none.
absl::StatusOr<domain::Checkpoint> FromWire(const v1::Checkpoint& checkpoint);

v1::Verdict ToWire(const domain::Verdict& verdict);
absl::StatusOr<domain::Verdict> FromWire(const v1::Verdict& verdict);

v1::AttemptKey ToWire(const domain::AttemptKey& key);
absl::StatusOr<domain::AttemptKey> FromWire(const v1::AttemptKey& key);

using WireGang = google::protobuf::RepeatedPtrField<v1::GangMember>;
WireGang ToWire(const domain::Gang& gang);
absl::StatusOr<domain::Gang> FromWire(const WireGang& members);

// The report of an attempt's end; the caller sets `report` and `key`.
v1::AttemptEnded ToWire(const domain::AttemptEnd& end);
absl::StatusOr<domain::AttemptEnd> FromWire(const v1::AttemptEnded& end);

// What a worker says of itself; the caller sets protocol version, incarnation and live attempts.
v1::Hello ToWire(const domain::WorkerInfo& info);
absl::StatusOr<domain::WorkerInfo> FromWire(const v1::Hello& hello);

// `sweep_name` is a label for the worker's metrics.
v1::Launch ToWire(const domain::LaunchAttempt& launch, const std::string& sweep_name);

std::string_view ToString(domain::SlotKind kind);  // "cpu", "gpu"

}  // namespace entrain::wire
