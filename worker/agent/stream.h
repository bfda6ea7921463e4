// One bidirectional gRPC stream with a bounded queue of its own.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace entrain::agent {

// Held by every stream, and released as its very last act. Whoever owns the channel waits until he is the only holder: a channel must
// not die on one of gRPC's own threads, where a stream's end is handled.
using StreamToken = std::shared_ptr<const int>;

// Thread-safe. Lives until the stream is over, whoever lets go of it before.
template <typename Out, typename In>
class Stream : public grpc::ClientBidiReactor<Out, In>, public std::enable_shared_from_this<Stream<Out, In>> {
 public:
  using OnMessage = std::function<void(const In&)>;
  using OnClosed = std::function<void(const grpc::Status&)>;

  // `begin(context, reactor)` is the stub's call. Both handlers are called on gRPC's threads; `on_closed` once, last.
  template <typename Begin>
  static std::shared_ptr<Stream> Open(StreamToken token, std::size_t queue_limit, OnMessage on_message, OnClosed on_closed, Begin begin) {
    std::shared_ptr<Stream> stream(new Stream(std::move(token), queue_limit, std::move(on_message), std::move(on_closed)));
    stream->self_ = stream;
    begin(&stream->context_, stream.get());
    stream->StartRead(&stream->incoming_);
    stream->StartCall();
    return stream;
  }

  // False when the queue is full or the stream is over; the message is then not sent.
  bool Offer(Out message) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (closed_ || queue_.size() >= queue_limit_) return false;
    queue_.push_back(std::move(message));
    if (queue_.size() == 1) this->StartWrite(&queue_.front());
    return true;
  }

  void Cancel() { context_.TryCancel(); }

  void OnReadDone(bool ok) override {
    if (ok) {
      on_message_(incoming_);
      this->StartRead(&incoming_);
      return;
    }
    // Inside this callback the call cannot be over yet, so an Offer before this line may still have begun a write.
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.pop_front();
    if (!ok) closed_ = true;
    if (!closed_ && !queue_.empty()) this->StartWrite(&queue_.front());
  }

  void OnDone(const grpc::Status& status) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    on_closed_(status);
    const std::shared_ptr<Stream> last = std::move(self_);
  }

 private:
  Stream(StreamToken token, std::size_t queue_limit, OnMessage on_message, OnClosed on_closed)
      : token_(std::move(token)), queue_limit_(queue_limit), on_message_(std::move(on_message)), on_closed_(std::move(on_closed)) {}

  const StreamToken token_;  // first, so that it goes last
  const std::size_t queue_limit_;
  const OnMessage on_message_;
  const OnClosed on_closed_;
  grpc::ClientContext context_;
  In incoming_;
  std::mutex mutex_;
  std::deque<Out> queue_;  // the front is being written
  bool closed_ = false;
  std::shared_ptr<Stream> self_;
};

}  // namespace entrain::agent
