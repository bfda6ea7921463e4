// A published checkpoint's files, read from the artifact root piece by piece.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "artifacts/artifact_store.h"
#include "coordinator/core/state.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::rpc {

// Hands every piece to `send`, which says false when the caller left (then CANCELLED). Holds one piece at a time. NOT_FOUND when the run has no
// such checkpoint, or this machine's artifact root does not hold it, or it has no such file; INVALID_ARGUMENT for a name that is no plain
// file name.
absl::Status SendCheckpoint(const core::Run& run, const v1::FetchCheckpointRequest& request, const artifacts::ArtifactStore& store,
                            const std::function<bool(const v1::CheckpointPiece&)>& send);

}  // namespace entrain::rpc
