// What other workers may ask of this one: its part of a gang whose head they are. gRPC with mutual TLS; each call is checked against the
// coordinator's signature before the daemon hears of it.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "entrain/v1/peer_service.grpc.pb.h"
#include "transport/tls.h"
#include "worker/agent/peer_grant.h"
#include "worker/launcher/orted.h"

namespace entrain::agent {

// Called once, from any thread; dropped when the daemon ends first.
template <typename T>
using PeerAnswer = std::function<void(absl::StatusOr<T>)>;

// Called on gRPC's threads, with launches whose grant is good.
struct PeerHandlers {
  std::function<void(const v1::Launch&, PeerAnswer<v1::PrepareResponse>)> prepare;
  std::function<void(const v1::Launch&, const launcher::OrtedParameters&, PeerAnswer<v1::StartDaemonResponse>)> start_daemon;
  std::function<void(const v1::Launch&, PeerAnswer<v1::EndResponse>)> end;
};

class PeerServer final : public v1::PeerService::Service {
 public:
  // Serves from here on. INVALID_ARGUMENT without TLS files: there is no plain form of this service.
  static absl::StatusOr<std::unique_ptr<PeerServer>> Start(const std::string& listen, const transport::TlsFiles& tls, const WorkerId& self,
                                                           PeerHandlers handlers);
  ~PeerServer() override;

  int port() const { return port_; }
  PeerKeys& keys() { return keys_; }

  grpc::Status Prepare(grpc::ServerContext* call, const v1::PrepareRequest* request, v1::PrepareResponse* response) override;
  grpc::Status StartDaemon(grpc::ServerContext* call, const v1::StartDaemonRequest* request, v1::StartDaemonResponse* response) override;
  grpc::Status End(grpc::ServerContext* call, const v1::EndRequest* request, v1::EndResponse* response) override;

 private:
  PeerServer(WorkerId self, PeerHandlers handlers) : self_(std::move(self)), handlers_(std::move(handlers)) {}
  // Of who calls, with what.
  template <typename Request>
  absl::StatusOr<v1::Launch> Admit(const grpc::ServerContext& call, const Request& request) const;

  const WorkerId self_;
  const PeerHandlers handlers_;
  PeerKeys keys_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace entrain::agent
