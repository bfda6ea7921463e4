#include "tests/compatibility/raw_call.h"

#include <chrono>
#include <utility>
#include <vector>

namespace entrain::compatibility {

std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

grpc::ByteBuffer BufferOf(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

RawCall::RawCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method) : stub_(channel) {
  stub_.PrepareBidiStreamingCall(&context_, method, {}, this);
  // Writes begin outside of this call's own callbacks.
  AddHold();
  StartRead(&incoming_);
  StartCall();
}

RawCall::~RawCall() {
  context_.TryCancel();
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return status_.has_value(); });
}

void RawCall::Say(const std::string& bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!may_write_ || closing_) return;
  to_say_.push_back(BufferOf(bytes));
  if (to_say_.size() == 1) Write();
}

void RawCall::Close() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!may_write_ || closing_) return;
  closing_ = true;
  if (to_say_.empty()) Write();
}

void RawCall::Write() {
  if (!to_say_.empty()) return StartWrite(&to_say_.front());
  if (!closing_) return;
  StartWritesDone();
  EndWrites();
}

void RawCall::EndWrites() {
  if (std::exchange(may_write_, false)) RemoveHold();
}

void RawCall::OnReadDone(bool ok) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (ok) {
    heard_.push_back(BytesOf(incoming_));
    StartRead(&incoming_);
  } else {
    EndWrites();
  }
  changed_.notify_all();
}

void RawCall::OnWriteDone(bool ok) {
  const std::lock_guard<std::mutex> lock(mutex_);
  to_say_.pop_front();
  if (!ok) EndWrites();
  if (may_write_) Write();
}

void RawCall::OnDone(const grpc::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  status_ = status;
  changed_.notify_all();
}

std::optional<std::string> RawCall::Await(const std::function<bool(const std::string&)>& fits, int patience_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  std::optional<std::string> found;
  std::size_t looked_at = 0;
  const auto look = [&] {
    for (; looked_at < heard_.size(); ++looked_at) {
      if (!fits(heard_[looked_at])) continue;
      found = std::move(heard_[looked_at]);
      heard_.erase(heard_.begin() + static_cast<std::ptrdiff_t>(looked_at));
      return true;
    }
    return status_.has_value();
  };
  changed_.wait_for(lock, std::chrono::milliseconds(patience_ms), look);
  return found;
}

std::optional<grpc::Status> RawCall::AwaitEnd(int patience_ms) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(patience_ms), [this] { return status_.has_value(); });
  return status_;
}

std::deque<std::string> RawCall::Rest() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return heard_;
}

}  // namespace entrain::compatibility
