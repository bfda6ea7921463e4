// Who may speak to whom: gRPC credentials from certificate files, for the coordinator, its workers and people. Files are read again
// when they change, so that a certificate is renewed without a restart.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include "absl/status/statusor.h"

namespace entrain::transport {

// PEM files. All three or none: TLS here is mutual, both ends show a certificate of the authority that they trust.
struct TlsFiles {
  std::string ca;           // the certificates that the other end's is checked against
  std::string certificate;  // our own, with the chain up to the authority
  std::string key;          // its private key

  bool empty() const { return ca.empty() && certificate.empty() && key.empty(); }
};

// INVALID_ARGUMENT when only some are given, a file cannot be read, holds no PEM block of its kind, or certificate and key do not belong
// together; names the file.
absl::Status CheckTlsFiles(const TlsFiles& files);

// Plain text for empty files. The other end's certificate must be of `ca` and, for a client, name the host that was dialled.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeServerCredentials(const TlsFiles& files);
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(const TlsFiles& files);

// Whether the host part of host:port is this machine alone.
bool IsLoopback(const std::string& address);

}  // namespace entrain::transport
