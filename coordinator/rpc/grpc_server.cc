#include "coordinator/rpc/grpc_server.h"

#include <grpc/support/time.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server_builder.h>

#include "base/status_macros.h"
#include "base/strings.h"
#include "coordinator/rpc/limits.h"

namespace entrain::rpc {
namespace {

// A connection whose other end is gone without a word is found by pings.
constexpr int kKeepaliveIntervalMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kFastestClientPingMs = 1'000;
// A connection that does not come to its TLS session and settings within it is closed.
constexpr int kHandshakeTimeoutMs = 20'000;

void SetLimits(grpc::ServerBuilder* builder) {
  builder->SetMaxReceiveMessageSize(kMaxReceivedMessageBytes);
  builder->SetMaxSendMessageSize(kMaxSentMessageBytes);
  grpc::ResourceQuota quota("entrain");
  quota.SetMaxThreads(kMaxThreads).Resize(kMaxServerMemoryBytes);
  builder->SetResourceQuota(quota);
  // Two coordinators on one port would share its connections.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder->AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kFastestClientPingMs);
}

// A checkpoint counts only from the current attempt, so no other may bring one.
absl::Status MayPublish(const core::State& state, const domain::AttemptKey& key) {
  const core::Run* run = state.FindRun(key.run);
  if (run == nullptr) return absl::NotFoundError(StrCat("checkpoint: there is no run ", key.run.value()));
  if (run->attempt == key.attempt) return absl::OkStatus();
  return absl::FailedPreconditionError(StrCat("checkpoint: attempt ", key.attempt, " of run ", key.run.value(), " is not the current one, which is ", run->attempt));
}

}  // namespace

GrpcServer::GrpcServer(const ServiceContext& context)
    : sweeps_(context),
      fleet_(context),
      artifacts_(context.artifacts,
                 [published = context.published](const domain::AttemptKey& key) { return MayPublish(*published->Get(), key); }, context.access,
                 context.published) {}

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const std::string& address, const transport::TlsFiles& tls,
                                                              const ServiceContext& context) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, transport::MakeServerCredentials(tls));
  context.access->Guard(credentials);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  std::unique_ptr<GrpcServer> server(new GrpcServer(context));
  grpc::ServerBuilder builder;
  SetLimits(&builder);
  builder.AddListeningPort(address, credentials, &server->port_);
  builder.RegisterService(&server->sweeps_);
  builder.RegisterService(&server->fleet_);
  builder.RegisterService(&server->artifacts_);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0) {
    return absl::UnavailableError(StrCat("cannot listen on ", address, ": the address is in use or not of this machine"));
  }
  return server;
}

GrpcServer::~GrpcServer() { Shutdown(0); }

void GrpcServer::Shutdown(std::int64_t grace_ms) {
  if (server_ == nullptr) return;
  server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(grace_ms, GPR_TIMESPAN)));
  server_->Wait();
  server_.reset();
}

}  // namespace entrain::rpc
