#include "worker/agent/peer_service.h"

#include <grpc/support/time.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/log.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "transport/grpc_status.h"

namespace entrain::agent {
namespace {

constexpr auto kLookInterval = std::chrono::milliseconds(100);
constexpr std::int64_t kShutdownMs = 500;
constexpr int kMaxPeerMessageBytes = 16 << 20;
constexpr int kFastestClientPingMs = 1'000;

// One answer, given on another thread.
template <typename T>
class Awaited {
 public:
  void Give(absl::StatusOr<T> value) {
    const std::lock_guard<std::mutex> lock(mutex_);
    value_ = std::move(value);
    arrived_.notify_all();
  }
  // Until it is there or nobody waits for it any more.
  absl::StatusOr<T> Wait(const grpc::ServerContext& call) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!value_) {
      if (call.IsCancelled()) return absl::CancelledError("the caller is gone, or this worker ends");
      arrived_.wait_for(lock, kLookInterval);
    }
    return *std::move(value_);
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::optional<absl::StatusOr<T>> value_;
};

// Asks through `ask`, which gets where the answer goes, and hands it to the caller.
template <typename T, typename Ask>
grpc::Status AskAndWait(const grpc::ServerContext& call, T* response, Ask ask) {
  const auto awaited = std::make_shared<Awaited<T>>();
  ask([awaited](absl::StatusOr<T> value) { awaited->Give(std::move(value)); });
  absl::StatusOr<T> value = awaited->Wait(call);
  if (!value.ok()) return transport::ToGrpc(value.status());
  *response = *std::move(value);
  return grpc::Status::OK;
}

grpc::Status Refuse(const grpc::ServerContext& call, const char* what, const absl::Status& why) {
  Log(LogLevel::kWarning, "refused another worker's call",
      {{"call", what}, {"peer", call.peer()}, {"reason", std::string(why.message())}});
  return transport::ToGrpc(why);
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerServer>> PeerServer::Start(const std::string& listen, const transport::TlsFiles& tls, const WorkerId& self,
                                                              PeerHandlers handlers) {
  if (tls.empty()) {
    return absl::InvalidArgumentError("--peer-listen needs --tls-ca, --tls-cert and --tls-key: who may start processes here shows a certificate");
  }
  ENTRAIN_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ServerCredentials> credentials, transport::MakeServerCredentials(tls));
  std::unique_ptr<PeerServer> server(new PeerServer(self, std::move(handlers)));
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxPeerMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kFastestClientPingMs);
  builder.AddListeningPort(listen, credentials, &server->port_);
  builder.RegisterService(server.get());
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0) return absl::UnavailableError(StrCat("--peer-listen ", listen, ": cannot listen there"));
  return server;
}

PeerServer::~PeerServer() {
  if (server_ == nullptr) return;
  server_->Shutdown(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kShutdownMs, GPR_TIMESPAN)));
  server_->Wait();
}

template <typename Request>
absl::StatusOr<v1::Launch> PeerServer::Admit(const grpc::ServerContext& call, const Request& request) const {
  const auto caller = call.auth_context();
  if (caller == nullptr || !caller->IsPeerAuthenticated()) return absl::UnauthenticatedError("the caller shows no certificate");
  return CheckGrant(request.grant(), request.key(), self_, keys_);
}

grpc::Status PeerServer::Prepare(grpc::ServerContext* call, const v1::PrepareRequest* request, v1::PrepareResponse* response) {
  const absl::StatusOr<v1::Launch> launch = Admit(*call, *request);
  if (!launch.ok()) return Refuse(*call, "Prepare", launch.status());
  return AskAndWait<v1::PrepareResponse>(*call, response, [&](auto answer) { handlers_.prepare(*launch, std::move(answer)); });
}

grpc::Status PeerServer::StartDaemon(grpc::ServerContext* call, const v1::StartDaemonRequest* request, v1::StartDaemonResponse* response) {
  const absl::StatusOr<v1::Launch> launch = Admit(*call, *request);
  if (!launch.ok()) return Refuse(*call, "StartDaemon", launch.status());
  const launcher::OrtedParameters parameters{request->job_id(), request->daemon(), request->daemons(), request->nodes(), request->head_port()};
  const absl::Status possible = launcher::CheckOrtedParameters(parameters, static_cast<std::uint32_t>(launch->gang_size()));
  if (!possible.ok()) return Refuse(*call, "StartDaemon", possible);
  return AskAndWait<v1::StartDaemonResponse>(*call, response, [&](auto answer) { handlers_.start_daemon(*launch, parameters, std::move(answer)); });
}

grpc::Status PeerServer::End(grpc::ServerContext* call, const v1::EndRequest* request, v1::EndResponse* response) {
  const absl::StatusOr<v1::Launch> launch = Admit(*call, *request);
  if (!launch.ok()) return Refuse(*call, "End", launch.status());
  return AskAndWait<v1::EndResponse>(*call, response, [&](auto answer) { handlers_.end(*launch, std::move(answer)); });
}

}  // namespace entrain::agent
