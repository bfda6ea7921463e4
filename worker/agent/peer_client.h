// The head's side: its gang's other machines, asked through their workers. Calls block; any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/fleet.h"
#include "entrain/v1/peer_service.grpc.pb.h"
#include "transport/tls.h"
#include "worker/launcher/orted.h"

namespace entrain::agent {

class PeerClient {
 public:
  // UNAUTHENTICATED without a token, INVALID_ARGUMENT for a damaged one or without TLS files.
  static absl::StatusOr<PeerClient> Make(const v1::PeerGrant& grant, const transport::TlsFiles& tls);
  // From what StoreGrant left. NOT_FOUND without a file, DATA_LOSS for a damaged one.
  static absl::StatusOr<PeerClient> FromStored(const std::string& path);

  const v1::Launch& launch() const { return launch_; }
  // Of the gang's members, 1 is the first that is not the head.
  int members() const { return launch_.gang_size(); }

  absl::StatusOr<v1::PrepareResponse> Prepare(int member) const;
  absl::Status StartDaemon(int member, const launcher::OrtedParameters& parameters) const;
  absl::StatusOr<v1::EndResponse> End(int member) const;

 private:
  PeerClient(v1::PeerGrant grant, v1::Launch launch, transport::TlsFiles tls)
      : grant_(std::move(grant)), launch_(std::move(launch)), tls_(std::move(tls)) {}
  // `call` gets a stub and a context. One that cannot be reached (its daemon may be starting again) is asked again for `patience_ms`.
  template <typename Call>
  absl::Status Ask(int member, std::int64_t limit_ms, std::int64_t patience_ms, Call call) const;

  v1::PeerGrant grant_;
  v1::Launch launch_;
  transport::TlsFiles tls_;
};

// Every other machine of the gang prepared, or none: the end of the attempt that could not begin, with the cause and who said so.
std::optional<domain::AttemptEnd> PrepareAll(const PeerClient& client);

// What ending the gang on its other machines brought; asked side by side.
struct PartEnd {
  std::string worker;
  absl::StatusOr<v1::EndResponse> end = absl::UnknownError("not asked");
};
std::vector<PartEnd> EndAll(const PeerClient& client);

// In memory-backed storage, for this user alone: for the rsh agent that mpirun starts, and for this daemon's next start.
absl::Status StoreGrant(const std::string& path, const v1::PeerGrant& grant, const transport::TlsFiles& tls);

}  // namespace entrain::agent
