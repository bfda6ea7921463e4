// The listening gRPC server with its services, reflection and health.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/server.h>

#include "absl/status/statusor.h"
#include "coordinator/rpc/artifact_service.h"
#include "coordinator/rpc/fleet_service.h"
#include "coordinator/rpc/sweep_service.h"
#include "transport/tls.h"

namespace entrain::rpc {

class GrpcServer {
 public:
  // `address` is host:port; port 0 takes a free one. INVALID_ARGUMENT names an unusable TLS file, UNAVAILABLE the address when it cannot
  // be listened on.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const std::string& address, const transport::TlsFiles& tls,
                                                           const ServiceContext& context);
  ~GrpcServer();

  int port() const { return port_; }
  // No new calls; running ones get `grace_ms`, then they are cancelled. Returns when all handlers have.
  void Shutdown(std::int64_t grace_ms);

 private:
  explicit GrpcServer(const ServiceContext& context);

  SweepService sweeps_;
  FleetService fleet_;
  ArtifactService artifacts_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace entrain::rpc
