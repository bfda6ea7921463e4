#include "worker/agent/coordinator_link.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace entrain::agent {
namespace {

// Messages that wait for one stream.
constexpr std::size_t kControlQueue = 4096;
constexpr std::size_t kSamplesQueue = 64;
constexpr std::size_t kLogsQueue = 16;

Stream<v1::WorkerMessage, v1::CoordinatorMessage>::OnClosed Closed(const LinkHandlers& handlers, const char* stream) {
  return [on_closed = handlers.on_closed, stream](const grpc::Status& status) {
    on_closed(status.ok() ? StrCat("the coordinator ended the ", stream, " stream")
                          : StrCat(stream, " stream: ", status.error_message()));
  };
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address, const transport::TlsFiles& tls) {
  grpc::ChannelArguments arguments;
  // Our own back-off decides when to try again.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  ENTRAIN_ASSIGN_OR_RETURN(const std::shared_ptr<grpc::ChannelCredentials> credentials, transport::MakeChannelCredentials(tls));
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

CoordinatorLink::CoordinatorLink(std::shared_ptr<grpc::Channel> channel, StreamToken token, v1::Hello hello,
                                 LinkHandlers handlers)
    : token_(std::move(token)), stub_(v1::FleetService::NewStub(channel)), handlers_(std::move(handlers)) {
  control_ = Stream<v1::WorkerMessage, v1::CoordinatorMessage>::Open(
      token_, kControlQueue, handlers_.on_control, Closed(handlers_, "control"),
      [this](grpc::ClientContext* context, auto* reactor) { stub_->async()->Control(context, reactor); });
  v1::WorkerMessage first;
  *first.mutable_hello() = std::move(hello);
  control_->Offer(std::move(first));
}

CoordinatorLink::~CoordinatorLink() {
  control_->Cancel();
  if (samples_) samples_->Cancel();
  if (logs_) logs_->Cancel();
}

void CoordinatorLink::OpenDataStreams() {
  if (samples_) return;
  samples_ = Stream<v1::SampleBatch, v1::SampleAck>::Open(
      token_, kSamplesQueue, handlers_.on_sample_ack, Closed(handlers_, "samples"),
      [this](grpc::ClientContext* context, auto* reactor) { stub_->async()->Samples(context, reactor); });
  logs_ = Stream<v1::LogChunk, v1::LogAck>::Open(
      token_, kLogsQueue, handlers_.on_log_ack, Closed(handlers_, "logs"),
      [this](grpc::ClientContext* context, auto* reactor) { stub_->async()->Logs(context, reactor); });
}

}  // namespace entrain::agent
