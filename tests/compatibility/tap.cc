#include "tests/compatibility/tap.h"

#include <grpcpp/generic/generic_stub.h>

#include <atomic>
#include <chrono>
#include <utility>

#include "base/strings.h"
#include "tests/compatibility/raw_call.h"

namespace entrain::compatibility {
namespace {

using grpc::ByteBuffer;

// One call that passes. A message goes on before the next of its direction is read. Goes when both halves are over.
class Passage {
 public:
  Passage(Tap* tap, int call, std::string method, const std::shared_ptr<grpc::Channel>& server)
      : tap_(tap), call_(call), method_(std::move(method)), stub_(server), caller_(this), server_(this) {
    stub_.PrepareBidiStreamingCall(&context_, method_, {}, &server_);
    // One for each direction: both are moved on from the caller's half too.
    server_.AddMultipleHolds(2);
    caller_.StartRead(&heard_);
    server_.StartRead(&said_);
    server_.StartCall();
  }
  grpc::ServerGenericBidiReactor* caller() { return &caller_; }

 private:
  class CallersHalf : public grpc::ServerGenericBidiReactor {
   public:
    explicit CallersHalf(Passage* passage) : passage_(passage) {}
    void OnReadDone(bool ok) override { passage_->FromCaller(ok); }
    void OnWriteDone(bool ok) override { passage_->ToCallerDone(ok); }
    void OnCancel() override {
      passage_->tap_->Note(passage_->call_, What::kLeft);
      passage_->context_.TryCancel();
    }
    void OnDone() override { passage_->HalfDone(); }

   private:
    Passage* const passage_;
  };
  class ServersHalf : public grpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
   public:
    explicit ServersHalf(Passage* passage) : passage_(passage) {}
    void OnReadDone(bool ok) override { passage_->FromServer(ok); }
    void OnWriteDone(bool ok) override { passage_->ToServerDone(ok); }
    void OnDone(const grpc::Status& status) override {
      passage_->tap_->Note(passage_->call_, What::kEnded, std::to_string(static_cast<int>(status.error_code())));
      passage_->caller_.Finish(status);
      passage_->HalfDone();
    }

   private:
    Passage* const passage_;
  };

  ByteBuffer Pass(What what, const ByteBuffer& message) {
    const std::string bytes = tap_->scrub()(method_, what, BytesOf(message));
    tap_->Note(call_, what, bytes);
    return BufferOf(bytes);
  }
  void FromCaller(bool ok) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!may_write_) return;
    if (ok) {
      heard_ = Pass(What::kHeard, heard_);
      return server_.StartWrite(&heard_);
    }
    tap_->Note(call_, What::kClosed);
    server_.StartWritesDone();
    EndWrites();
  }
  void ToServerDone(bool ok) {
    if (ok) return caller_.StartRead(&heard_);
    const std::lock_guard<std::mutex> lock(mutex_);
    EndWrites();
  }
  void FromServer(bool ok) {
    if (ok) {
      said_ = Pass(What::kSaid, said_);
      return caller_.StartWrite(&said_);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    EndWrites();
    server_.RemoveHold();
  }
  void ToCallerDone(bool ok) {
    if (!ok) context_.TryCancel();
    server_.StartRead(&said_);
  }
  void EndWrites() {
    if (std::exchange(may_write_, false)) server_.RemoveHold();
  }
  void HalfDone() {
    if (--halves_ == 0) delete this;
  }

  Tap* const tap_;
  const int call_;
  const std::string method_;
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  ByteBuffer heard_;
  ByteBuffer said_;
  std::mutex mutex_;
  bool may_write_ = true;
  std::atomic<int> halves_ = 2;
  CallersHalf caller_;
  ServersHalf server_;
};

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& server, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server, credentials, arguments);
}

}  // namespace

Tap::Tap(const std::string& server, Scrub scrub, const TapEnds& ends) : scrub_(std::move(scrub)), channel_(ChannelTo(server, ends.server)) {
  host_ = ends.listen.substr(0, ends.listen.rfind(':'));
  grpc::ServerBuilder builder;
  builder.AddListeningPort(ends.listen, ends.callers, &port_);
  builder.RegisterCallbackGenericService(this);
  listener_ = builder.BuildAndStart();
}

Tap::~Tap() { Stop(); }

void Tap::Stop() {
  if (!listener_) return;
  listener_->Shutdown(std::chrono::system_clock::time_point{});
  listener_->Wait();
  listener_.reset();
}

std::string Tap::address() const { return StrCat(host_, ":", port_); }

std::vector<Record> Tap::Records() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return records_;
}

void Tap::Note(int call, What what, const std::string& bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  records_.push_back({call, what, bytes});
}

grpc::ServerGenericBidiReactor* Tap::CreateReactor(grpc::GenericCallbackServerContext* context) {
  int call = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    call = ++calls_;
    records_.push_back({call, What::kOpened, context->method()});
  }
  return (new Passage(this, call, context->method(), channel_))->caller();
}

}  // namespace entrain::compatibility
