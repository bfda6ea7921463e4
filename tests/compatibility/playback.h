// A server that gives the recorded answers: to a message that was said then, what it was answered; to another one of the same method, the
// next answer that nobody had yet.
#pragma once

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "tests/compatibility/conversation.h"

namespace entrain::compatibility {

// Thread-safe. Serve it alone or beside typed services, which then have the first say; it outlives the server.
class Playback : public grpc::CallbackGenericService {
 public:
  struct Answer {
    std::string request;  // the first message
    std::vector<std::string> said;
    int code = 0;
  };
  explicit Playback(const std::vector<Record>& records);

  // Null: no such call was recorded.
  const Answer* Choose(const std::string& method, const std::string& request);
  // Methods that were called and never recorded.
  std::set<std::string> unknown() const;
  // Those that were called.
  std::set<std::string> asked() const;

 private:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override;

  mutable std::mutex mutex_;
  std::map<std::string, std::vector<Answer>> answers_;  // by method, in the recorded order
  std::set<const Answer*> given_;
  std::set<std::string> unknown_;
  std::set<std::string> asked_;
};

}  // namespace entrain::compatibility
