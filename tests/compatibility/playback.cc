#include "tests/compatibility/playback.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>

#include "tests/compatibility/raw_call.h"
#include "tests/compatibility/wire_messages.h"

namespace entrain::compatibility {
namespace {

class PlayedCall : public grpc::ServerGenericBidiReactor {
 public:
  PlayedCall(Playback* playback, const std::string& method) : playback_(playback), method_(method) { StartRead(&heard_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Begin("");
    if (!begun_) {
      request_ = BytesOf(heard_);
      begun_ = true;
    }
    // A stream of messages is answered at its end.
    if (HasManyRequests(method_)) return StartRead(&heard_);
    Begin(request_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) SayNext();
  }
  void OnDone() override { delete this; }

 private:
  void Begin(const std::string& request) {
    answer_ = playback_->Choose(method_, begun_ ? request_ : request);
    if (answer_ == nullptr) return Finish(grpc::Status(grpc::StatusCode::UNIMPLEMENTED, "not recorded: " + method_));
    SayNext();
  }
  void SayNext() {
    if (said_ == answer_->said.size()) {
      const auto code = static_cast<grpc::StatusCode>(answer_->code);
      return Finish(code == grpc::StatusCode::OK ? grpc::Status::OK : grpc::Status(code, "as recorded"));
    }
    saying_ = BufferOf(answer_->said[said_++]);
    StartWrite(&saying_);
  }

  Playback* const playback_;
  const std::string method_;
  grpc::ByteBuffer heard_;
  grpc::ByteBuffer saying_;
  std::string request_;
  bool begun_ = false;
  const Playback::Answer* answer_ = nullptr;
  std::size_t said_ = 0;
};

}  // namespace

Playback::Playback(const std::vector<Record>& records) {
  std::map<int, std::string> methods;
  std::map<int, std::vector<Answer>::size_type> places;
  for (const Record& record : records) {
    if (record.what == What::kOpened) {
      methods[record.call] = record.bytes;
      places[record.call] = answers_[record.bytes].size();
      answers_[record.bytes].emplace_back();
    }
    if (!methods.contains(record.call)) continue;
    Answer& answer = answers_[methods[record.call]][places[record.call]];
    if (record.what == What::kHeard && answer.request.empty()) answer.request = record.bytes;
    if (record.what == What::kSaid) answer.said.push_back(record.bytes);
    if (record.what == What::kEnded) answer.code = std::stoi(record.bytes);
  }
}

const Playback::Answer* Playback::Choose(const std::string& method, const std::string& request) {
  const std::lock_guard<std::mutex> lock(mutex_);
  asked_.insert(method);
  const auto found = answers_.find(method);
  const Answer* chosen = nullptr;
  if (found != answers_.end()) {
    const auto rank = [&](const Answer& answer) { return (answer.request == request ? 2 : 0) + (given_.contains(&answer) ? 0 : 1); };
    for (const Answer& answer : found->second) {
      if (chosen == nullptr || rank(answer) > rank(*chosen)) chosen = &answer;
    }
  }
  if (chosen == nullptr) unknown_.insert(method);
  given_.insert(chosen);
  return chosen;
}

std::set<std::string> Playback::unknown() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return unknown_;
}

std::set<std::string> Playback::asked() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return asked_;
}

grpc::ServerGenericBidiReactor* Playback::CreateReactor(grpc::GenericCallbackServerContext* context) { return new PlayedCall(this, context->method()); }

}  // namespace entrain::compatibility
