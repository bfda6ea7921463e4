#include "cli/client.h"

#include <grpc/support/time.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <utility>

#include "base/strings.h"
#include "entrain/v1/sweep_service.grpc.pb.h"
#include "transport/grpc_status.h"

namespace entrain::cli {
namespace {

constexpr int kCallTimeoutSeconds = 30;
constexpr int kConnectLimitMs = 2'000;
// A sweep's answer carries every run; far above any real one.
constexpr int kMaxMessageBytes = 256 << 20;

// Puts the token on every call of a channel, those for datasets included.
class TokenBearer : public grpc::experimental::Interceptor {
 public:
  explicit TokenBearer(const std::string* header) : header_(header) {}
  void Intercept(grpc::experimental::InterceptorBatchMethods* call) override {
    if (call->QueryInterceptionHookPoint(grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      call->GetSendInitialMetadata()->emplace("authorization", *header_);
    }
    call->Proceed();
  }

 private:
  const std::string* const header_;
};

class TokenBearers : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenBearers(const std::string& token) : header_(StrCat("Bearer ", token)) {}
  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo* /*call*/) override { return new TokenBearer(&header_); }

 private:
  const std::string header_;
};

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address, const transport::TlsFiles& tls, const std::string& token) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  // Also the time that one attempt to connect is given: a busy machine needs more than a moment.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // Finds a coordinator's machine that vanished without a word while a stream is open.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // A proxy meant for the web would swallow the coordinator of a lab.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> bearers;
  if (!token.empty()) bearers.push_back(std::make_unique<TokenBearers>(token));
  return grpc::experimental::CreateCustomChannelWithInterceptors(address, transport::MakeChannelCredentials(tls).value(), arguments,
                                                                 std::move(bearers));
}

// Says which coordinator, where only the connection failed.
absl::Status FromGrpc(const grpc::Status& status, const std::string& address) {
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return absl::UnavailableError(StrCat("coordinator ", address, " cannot be reached: ", status.error_message()));
  }
  if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
    return absl::DeadlineExceededError(StrCat("coordinator ", address, " did not answer within ", kCallTimeoutSeconds, " s"));
  }
  return transport::FromGrpc(status);
}

}  // namespace

struct StreamStop::Shared {
  std::mutex mutex;
  grpc::ClientContext* context = nullptr;
  bool stopped = false;
};

StreamStop::StreamStop() : shared_(std::make_unique<Shared>()) {}
StreamStop::~StreamStop() = default;

void StreamStop::Stop() {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->stopped = true;
  if (shared_->context != nullptr) shared_->context->TryCancel();
}

bool StreamStop::stopped() const {
  const std::lock_guard<std::mutex> lock(shared_->mutex);
  return shared_->stopped;
}

// One coordinator.
struct Endpoint {
  Endpoint(const std::string& where, const transport::TlsFiles& tls, const std::string& token)
      : address(where), channel(OpenChannel(where, tls, token)), service(v1::SweepService::NewStub(channel)) {}
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::SweepService::Stub> service;
};

struct Client::Endpoints {
  Endpoints(const std::string& addresses, const transport::TlsFiles& tls, const std::string& token) {
    for (std::size_t begin = 0; begin <= addresses.size();) {
      const std::size_t end = std::min(addresses.find(',', begin), addresses.size());
      if (end > begin) all.emplace_back(addresses.substr(begin, end - begin), tls, token);
      begin = end + 1;
    }
    if (all.empty()) all.emplace_back(addresses, tls, token);
  }

  // `ask` on one after the other until one can be reached, or has begun to answer.
  template <typename Ask>
  absl::Status InTurn(const Ask& ask) {
    const std::size_t first = current;
    std::string reasons;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const std::size_t index = (first + i) % all.size();
      bool answered = false;
      const absl::Status status = ask(all[index], &answered);
      if (answered || !absl::IsUnavailable(status)) {
        // One that is silent, frozen perhaps, is not asked first again.
        current = absl::IsDeadlineExceeded(status) ? (index + 1) % all.size() : index;
        return status;
      }
      StrAppend(&reasons, i == 0 ? "" : "; ", std::string(status.message()));
    }
    return absl::UnavailableError(AbslArgument(reasons));
  }

  template <typename Request, typename Response>
  using Method = grpc::Status (v1::SweepService::Stub::*)(grpc::ClientContext*, const Request&, Response*);

  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(Method<Request, Response> method, const Request& request) {
    Response response;
    const absl::Status status = InTurn([&](Endpoint& endpoint, bool*) {
      grpc::ClientContext context;
      context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(kCallTimeoutSeconds, GPR_TIMESPAN)));
      return FromGrpc((endpoint.service.get()->*method)(&context, request, &response), endpoint.address);
    });
    if (!status.ok()) return status;
    return response;
  }

  std::deque<Endpoint> all;
  std::atomic<std::size_t> current = 0;  // that answered last
};

namespace {

template <typename Message, typename Shared, typename Open>
absl::Status ReadOneStream(Shared* shared, const std::string& address, Open open, const std::function<void(const Message&)>& on_message) {
  grpc::ClientContext context;
  {
    const std::lock_guard<std::mutex> lock(shared->mutex);
    if (shared->stopped) return absl::CancelledError("stopped");
    shared->context = &context;
  }
  std::unique_ptr<grpc::ClientReader<Message>> reader = open(&context);
  Message message;
  while (reader->Read(&message)) on_message(message);
  const grpc::Status status = reader->Finish();
  {
    const std::lock_guard<std::mutex> lock(shared->mutex);
    shared->context = nullptr;
  }
  return FromGrpc(status, address);
}

// Reads a stream to its end. `Shared` is StreamStop's, which is private; `endpoints` is Client's.
template <typename Message, typename Shared, typename Endpoints, typename Open>
absl::Status ReadStream(Shared* shared, Endpoints* endpoints, Open open, const std::function<void(const Message&)>& on_message) {
  return endpoints->InTurn([&](Endpoint& endpoint, bool* answered) {
    return ReadOneStream<Message>(shared, endpoint.address, [&](grpc::ClientContext* context) { return open(endpoint.service.get(), context); },
                                  [&](const Message& message) {
                                    *answered = true;
                                    on_message(message);
                                  });
  });
}

}  // namespace

Client::Client(std::string address, const transport::TlsFiles& tls, const std::string& token)
    : address_(std::move(address)), endpoints_(std::make_unique<Endpoints>(address_, tls, token)) {}
Client::~Client() = default;

std::shared_ptr<grpc::Channel> Client::channel() const {
  // A standby does not listen: whoever takes the connection leads.
  if (endpoints_->all.size() > 1) {
    endpoints_->InTurn([](Endpoint& endpoint, bool* answered) -> absl::Status {
      const gpr_timespec limit = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(kConnectLimitMs, GPR_TIMESPAN));
      *answered = endpoint.channel->WaitForConnected(limit);
      return absl::UnavailableError("no connection");
    }).IgnoreError();
  }
  return endpoints_->all[endpoints_->current].channel;
}

absl::StatusOr<v1::SubmitResponse> Client::Submit(const v1::SubmitRequest& request) {
  return endpoints_->Call(&v1::SweepService::Stub::Submit, request);
}

absl::StatusOr<v1::ListSweepsResponse> Client::ListSweeps() {
  return endpoints_->Call(&v1::SweepService::Stub::ListSweeps, v1::ListSweepsRequest());
}

absl::StatusOr<v1::Sweep> Client::GetSweep(const std::string& id) {
  v1::GetSweepRequest request;
  request.set_sweep_id(id);
  return endpoints_->Call(&v1::SweepService::Stub::GetSweep, request);
}

absl::StatusOr<v1::RunDetail> Client::GetRun(const std::string& id) {
  v1::GetRunRequest request;
  request.set_run_id(id);
  return endpoints_->Call(&v1::SweepService::Stub::GetRun, request);
}

absl::StatusOr<int> Client::Stop(const std::string& id, const std::string& by) {
  v1::StopRequest request;
  request.set_id(id);
  request.set_by(by);
  const auto response = endpoints_->Call(&v1::SweepService::Stub::Stop, request);
  if (!response.ok()) return response.status();
  return response->runs();
}

absl::StatusOr<int> Client::Pause(const std::string& id, const std::string& by) {
  v1::PauseRequest request;
  request.set_id(id);
  request.set_by(by);
  const auto response = endpoints_->Call(&v1::SweepService::Stub::Pause, request);
  if (!response.ok()) return response.status();
  return response->runs();
}

absl::StatusOr<int> Client::Resume(const std::string& id, const std::string& by) {
  v1::ResumeRequest request;
  request.set_id(id);
  request.set_by(by);
  const auto response = endpoints_->Call(&v1::SweepService::Stub::Resume, request);
  if (!response.ok()) return response.status();
  return response->runs();
}

absl::StatusOr<v1::RetryResponse> Client::Retry(const std::string& id, const std::string& by) {
  v1::RetryRequest request;
  request.set_id(id);
  request.set_by(by);
  return endpoints_->Call(&v1::SweepService::Stub::Retry, request);
}

absl::StatusOr<v1::ActOnWorkerResponse> Client::ActOnWorker(const v1::ActOnWorkerRequest& request) {
  return endpoints_->Call(&v1::SweepService::Stub::ActOnWorker, request);
}

absl::StatusOr<std::string> Client::Release(const std::string& id, const std::string& by) {
  v1::ReleaseRequest request;
  request.set_sweep_id(id);
  request.set_by(by);
  const auto response = endpoints_->Call(&v1::SweepService::Stub::Release, request);
  if (!response.ok()) return response.status();
  return response->sweep_id();
}

absl::StatusOr<v1::CollectGarbageResponse> Client::CollectGarbage(bool dry_run) {
  v1::CollectGarbageRequest request;
  request.set_dry_run(dry_run);
  return endpoints_->Call(&v1::SweepService::Stub::CollectGarbage, request);
}

absl::StatusOr<v1::ListWorkersResponse> Client::ListWorkers() {
  return endpoints_->Call(&v1::SweepService::Stub::ListWorkers, v1::ListWorkersRequest());
}

absl::Status Client::Watch(const std::string& sweep, StreamStop* stop,
                           const std::function<void(const v1::WatchUpdate&)>& on_update) {
  v1::WatchRequest request;
  request.set_sweep_id(sweep);
  return ReadStream<v1::WatchUpdate>(
      stop->shared_.get(), endpoints_.get(),
      [&](auto* service, grpc::ClientContext* context) { return service->Watch(context, request); }, on_update);
}

absl::Status Client::Logs(const v1::LogsRequest& request, StreamStop* stop,
                          const std::function<void(const v1::LogLine&)>& on_line) {
  return ReadStream<v1::LogLine>(
      stop->shared_.get(), endpoints_.get(),
      [&](auto* service, grpc::ClientContext* context) { return service->Logs(context, request); }, on_line);
}

absl::Status Client::FetchSamples(const v1::FetchSamplesRequest& request,
                                  const std::function<void(const v1::FetchSamplesResponse&)>& on_part, StreamStop* stop) {
  StreamStop never;
  return ReadStream<v1::FetchSamplesResponse>(
      stop != nullptr ? stop->shared_.get() : never.shared_.get(), endpoints_.get(),
      [&](auto* service, grpc::ClientContext* context) { return service->FetchSamples(context, request); }, on_part);
}

absl::Status Client::FetchCheckpoint(const v1::FetchCheckpointRequest& request,
                                     const std::function<absl::Status(const v1::CheckpointPiece&)>& on_piece) {
  StreamStop stop;
  absl::Status refused;
  const absl::Status read = ReadStream<v1::CheckpointPiece>(
      stop.shared_.get(), endpoints_.get(),
      [&](auto* service, grpc::ClientContext* context) { return service->FetchCheckpoint(context, request); },
      [&](const v1::CheckpointPiece& piece) {
        if (!refused.ok()) return;
        refused = on_piece(piece);
        if (!refused.ok()) stop.Stop();
      });
  return refused.ok() ? read : refused;
}

}  // namespace entrain::cli
