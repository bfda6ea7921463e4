// The files of an attempt on this machine and, where this worker is the head of a gang over several, what it asks of the others. Blocks;
// for the daemon's tasks.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "artifacts/artifact_store.h"
#include "domain/fleet.h"
#include "entrain/v1/fleet_service.pb.h"
#include "transport/tls.h"
#include "worker/launcher/launcher.h"

namespace entrain::agent {

// Makes the attempt's folder unless it is complete; the end of the attempt when that is not possible, and then nothing is left of it.
std::optional<domain::AttemptEnd> MakeAttemptFolder(const v1::Launch& launch, const domain::WorkerInfo& self,
                                                    const artifacts::ArtifactStore& store, const std::string& folder);
// Ends what runs of it, and takes the token with it.
void RemoveAttemptFolder(const std::string& folder);

// The head: every other machine's part made ready and the token left for the rsh agent; or the end, and no part is left.
std::optional<domain::AttemptEnd> PrepareMachines(const v1::Launch& launch, const std::string& folder, const transport::TlsFiles& tls);

// How the attempt ended here and, at a head, on its other machines: their parts are ended, and what their ranks left is brought home.
domain::AttemptEnd CollectGangEnd(const std::string& folder, const launcher::Progress& progress);

}  // namespace entrain::agent
