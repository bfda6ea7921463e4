// One call of any method in the bytes of its messages, as a build of another version would make it. Real gRPC.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace entrain::compatibility {

std::string BytesOf(const grpc::ByteBuffer& buffer);
grpc::ByteBuffer BufferOf(const std::string& bytes);

// Thread-safe.
class RawCall : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method);
  // Breaks it off if it is not over.
  ~RawCall() override;

  void Say(const std::string& bytes);
  // Nothing more will be said.
  void Close();
  void Leave() { context_.TryCancel(); }

  // Takes the first message that `fits` out of those that came. Empty when none comes in time, or the call ends before.
  std::optional<std::string> Await(const std::function<bool(const std::string&)>& fits, int patience_ms);
  // Empty while it goes on after all that time.
  std::optional<grpc::Status> AwaitEnd(int patience_ms);
  // What came and nobody took.
  std::deque<std::string> Rest();

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnWritesDoneDone(bool /*ok*/) override {}
  void OnDone(const grpc::Status& status) override;
  // The next of `to_say_`, or the close; the mutex is held.
  void Write();
  void EndWrites();

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::ByteBuffer incoming_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<grpc::ByteBuffer> to_say_;  // the first is being written
  bool closing_ = false;
  bool may_write_ = true;
  std::deque<std::string> heard_;
  std::optional<grpc::Status> status_;
};

}  // namespace entrain::compatibility
