#include "worker/agent/peer_client.h"

#include <fcntl.h>
#include <grpc/support/time.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <future>
#include <thread>

#include "base/clock.h"
#include "base/files.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "transport/grpc_status.h"
#include "worker/launcher/runtime_folder.h"

namespace entrain::agent {
namespace {

using domain::AttemptEnd;
using domain::EndCause;

// A dataset or a checkpoint may have to travel first.
constexpr std::int64_t kPrepareLimitMs = 1'800'000;
constexpr std::int64_t kStartLimitMs = 20'000;
constexpr std::int64_t kEndLimitMs = 20'000;
constexpr std::int64_t kPatienceMs = 10'000;
constexpr std::int64_t kEndPatienceMs = 4'000;
constexpr auto kPause = std::chrono::milliseconds(200);
constexpr int kKeepaliveMs = 10'000;
constexpr int kConnectLimitMs = 3'000;

absl::StatusOr<std::shared_ptr<grpc::Channel>> PeerChannel(const std::string& address, const transport::TlsFiles& tls) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectLimitMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveMs);
  ENTRAIN_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials, transport::MakeChannelCredentials(tls));
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

std::string NameOfMember(const PeerClient& client, int member) {
  return StrCat("worker ", client.launch().gang(member).worker_id(), " at ", client.launch().gang(member).peer_address());
}

std::optional<AttemptEnd> EndWithout(const PeerClient& client, int member, const absl::StatusOr<v1::PrepareResponse>& prepared) {
  AttemptEnd end;
  if (!prepared.ok()) {
    end.cause = absl::IsUnavailable(prepared.status()) || absl::IsDeadlineExceeded(prepared.status()) ? EndCause::kMachineLost : EndCause::kLaunch;
    end.message = StrCat(NameOfMember(client, member), " did not prepare its part: ", std::string(prepared.status().message()));
    return end;
  }
  if (prepared->cause().empty()) return std::nullopt;
  end.cause = domain::ParseEndCause(prepared->cause()).value_or(EndCause::kLaunch);
  end.message = StrCat(NameOfMember(client, member), ": ", prepared->message());
  return end;
}

// Every other machine at the same time; the answers in the order of the gang.
template <typename Answer, typename Take>
void AskAll(const PeerClient& client, absl::StatusOr<Answer> (PeerClient::*ask)(int) const, Take take) {
  std::vector<std::future<absl::StatusOr<Answer>>> asked;
  for (int member = 1; member < client.members(); ++member) asked.push_back(std::async(std::launch::async, ask, &client, member));
  for (int member = 1; member < client.members(); ++member) take(member, asked[static_cast<std::size_t>(member - 1)].get());
}

}  // namespace

absl::StatusOr<PeerClient> PeerClient::Make(const v1::PeerGrant& grant, const transport::TlsFiles& tls) {
  if (grant.token().empty()) return absl::UnauthenticatedError("there is no token for the gang's other machines");
  if (tls.empty()) return absl::InvalidArgumentError("a gang over several machines needs --tls-ca, --tls-cert and --tls-key");
  v1::Launch launch;
  if (!launch.ParseFromString(grant.launch())) return absl::InvalidArgumentError("the token's launch is damaged");
  return PeerClient(grant, std::move(launch), tls);
}

absl::StatusOr<PeerClient> PeerClient::FromStored(const std::string& path) {
  ENTRAIN_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  v1::StoredGrant stored;
  if (!stored.ParseFromString(bytes)) return absl::DataLossError(StrCat(path, " is damaged"));
  return Make(stored.grant(), {stored.tls_ca(), stored.tls_certificate(), stored.tls_key()});
}

template <typename Call>
absl::Status PeerClient::Ask(int member, std::int64_t limit_ms, std::int64_t patience_ms, Call call) const {
  ENTRAIN_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, PeerChannel(launch_.gang(member).peer_address(), tls_));
  const std::unique_ptr<v1::PeerService::Stub> stub = v1::PeerService::NewStub(channel);
  const SystemClock clock;
  const std::int64_t until_boot_ms = clock.BootMs() + patience_ms;
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(limit_ms, GPR_TIMESPAN)));
    const absl::Status status = transport::FromGrpc(call(stub.get(), &context));
    if (!absl::IsUnavailable(status) || clock.BootMs() >= until_boot_ms) return status;
    std::this_thread::sleep_for(kPause);
  }
}

absl::StatusOr<v1::PrepareResponse> PeerClient::Prepare(int member) const {
  v1::PrepareRequest request;
  *request.mutable_grant() = grant_;
  *request.mutable_key() = launch_.key();
  v1::PrepareResponse response;
  ENTRAIN_RETURN_IF_ERROR(Ask(member, kPrepareLimitMs, kPatienceMs, [&](auto* stub, auto* context) { return stub->Prepare(context, request, &response); }));
  return response;
}

absl::Status PeerClient::StartDaemon(int member, const launcher::OrtedParameters& parameters) const {
  v1::StartDaemonRequest request;
  *request.mutable_grant() = grant_;
  *request.mutable_key() = launch_.key();
  request.set_job_id(parameters.job_id);
  request.set_daemon(parameters.daemon);
  request.set_daemons(parameters.daemons);
  request.set_nodes(parameters.nodes);
  request.set_head_port(parameters.head_port);
  v1::StartDaemonResponse response;
  return Ask(member, kStartLimitMs, kPatienceMs, [&](auto* stub, auto* context) { return stub->StartDaemon(context, request, &response); });
}

absl::StatusOr<v1::EndResponse> PeerClient::End(int member) const {
  v1::EndRequest request;
  *request.mutable_grant() = grant_;
  *request.mutable_key() = launch_.key();
  v1::EndResponse response;
  ENTRAIN_RETURN_IF_ERROR(Ask(member, kEndLimitMs, kEndPatienceMs, [&](auto* stub, auto* context) { return stub->End(context, request, &response); }));
  return response;
}

std::optional<AttemptEnd> PrepareAll(const PeerClient& client) {
  std::optional<AttemptEnd> end;
  AskAll(client, &PeerClient::Prepare, [&](int member, const absl::StatusOr<v1::PrepareResponse>& prepared) {
    if (!end) end = EndWithout(client, member, prepared);
  });
  return end;
}

std::vector<PartEnd> EndAll(const PeerClient& client) {
  std::vector<PartEnd> ends;
  AskAll(client, &PeerClient::End, [&](int member, absl::StatusOr<v1::EndResponse> end) {
    ends.push_back({NameOfMember(client, member), std::move(end)});
  });
  return ends;
}

absl::Status StoreGrant(const std::string& path, const v1::PeerGrant& grant, const transport::TlsFiles& tls) {
  v1::StoredGrant stored;
  *stored.mutable_grant() = grant;
  stored.set_tls_ca(tls.ca);
  stored.set_tls_certificate(tls.certificate);
  stored.set_tls_key(tls.key);
  ENTRAIN_RETURN_IF_ERROR(launcher::MakePrivateFolder(std::filesystem::path(path).parent_path().string()));
  ::unlink(path.c_str());
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) return ErrnoStatus(errno, "create", path);
  const std::string bytes = stored.SerializeAsString();
  const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
  const int error = errno;
  ::close(descriptor);
  return written == static_cast<ssize_t>(bytes.size()) ? absl::OkStatus() : ErrnoStatus(error, "write", path);
}

}  // namespace entrain::agent
