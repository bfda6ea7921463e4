// Stands between a server and its callers, passes on every call of every method and writes down what is said. It knows no message.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/compatibility/conversation.h"

namespace entrain::compatibility {

// Before a message is passed on and written down: takes out of it what names this machine or its user.
using Scrub = std::function<std::string(const std::string& method, What what, const std::string& bytes)>;

struct TapEnds {
  std::string listen = "127.0.0.1:0";
  std::shared_ptr<grpc::ServerCredentials> callers = grpc::InsecureServerCredentials();
  std::shared_ptr<grpc::ChannelCredentials> server = grpc::InsecureChannelCredentials();
};

// The Scrub of every recording: the machine's processor, the account's name and the build are nobody's business.
std::string WithoutNames(const std::string& method, What what, const std::string& bytes);

// Thread-safe.
class Tap : private grpc::CallbackGenericService {
 public:
  // `server` is HOST:PORT; it may come later, go, and come back.
  Tap(const std::string& server, Scrub scrub, const TapEnds& ends = {});
  ~Tap() override;

  std::string address() const;
  // Cuts every call.
  void Stop();
  std::vector<Record> Records() const;

  // For the calls that pass.
  void Note(int call, What what, const std::string& bytes = "");
  const Scrub& scrub() const { return scrub_; }

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

  const Scrub scrub_;
  const std::shared_ptr<grpc::Channel> channel_;
  mutable std::mutex mutex_;
  int calls_ = 0;
  std::vector<Record> records_;
  std::string host_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> listener_;
};

}  // namespace entrain::compatibility
