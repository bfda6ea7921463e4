// Who may come in: every call passes here before its message is read, whatever its service. Keeps the tokens, the limits of each client and
// the audit log. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "coordinator/rpc/audit_log.h"
#include "coordinator/rpc/caller.h"
#include "coordinator/rpc/request_rates.h"
#include "coordinator/rpc/stream_places.h"
#include "transport/token_file.h"

namespace grpc {
class ServerContextBase;
class ServerCredentials;
}

namespace entrain::rpc {

struct AccessOptions {
  bool tls = false;
  std::string tokens_file;  // empty: people need none
  std::string audit_file;   // empty: none is kept
  // Of each client that has a name; processes of this machine without TLS have none, and no limits.
  double requests_per_second = 100;  // on average; twice as many at once
  int streams_per_client = 64;
  std::int64_t slow_stream_ms = 60'000;
  std::int64_t look_every_ms = 500;  // at the tokens' file, and for slow streams
};

// What a call shows of its caller.
struct Credentials {
  std::optional<std::string_view> authorization;  // the header
  std::string_view certificate;                   // PEM; empty without TLS
};

class Access {
 public:
  // `count_limit` hears of every limit that is reached, by its name; may be empty. A tokens' file that is not there yet holds no tokens; a wrong
  // one is INVALID_ARGUMENT with its line.
  static absl::StatusOr<std::unique_ptr<Access>> Open(const AccessOptions& options, const Clock* clock,
                                                      std::function<void(const std::string&)> count_limit);
  ~Access();

  // Puts this before every call of a server with these credentials.
  void Guard(const std::shared_ptr<grpc::ServerCredentials>& credentials);
  // UNAUTHENTICATED, PERMISSION_DENIED or RESOURCE_EXHAUSTED; does not touch the disk.
  absl::Status Admit(std::string_view method, const Credentials& credentials);
  // Who makes an admitted call.
  Caller CallerOf(const grpc::ServerContextBase& call) const;
  // The call's place among its client's streams, for as long as it runs.
  absl::StatusOr<std::unique_ptr<StreamPlaces::Place>> Enter(grpc::ServerContextBase* call);

  // Writes down what the caller did, or was refused, and hands its status on; INTERNAL when it was done and cannot be written down.
  absl::Status Record(const Caller& caller, std::string_view action, std::string_view target, const absl::Status& status,
                      std::string_view detail = "");
  // Reads the tokens again if their file changed. Called every look_every_ms by a thread of its own; tests need not wait for it.
  void Look();

 private:
  using Tokens = std::vector<transport::Token>;
  Access(const AccessOptions& options, const Clock* clock, std::function<void(const std::string&)> count_limit);
  absl::StatusOr<Caller> Identify(const Credentials& credentials) const;
  absl::StatusOr<Caller> IdentifyToken(std::string_view authorization) const;
  std::shared_ptr<const transport::Certificate> CertificateOf(std::string_view pem) const;
  absl::Status Decide(const absl::StatusOr<Caller>& caller, std::string_view method);
  std::shared_ptr<const Tokens> tokens() const;
  absl::Status ReadTokens();
  void RecordTokenChanges(const Tokens& before, const Tokens& after);
  void Watch();

  const AccessOptions options_;
  const Clock* const clock_;
  const std::function<void(const std::string&)> count_limit_;
  std::unique_ptr<AuditLog> audit_;
  StreamPlaces streams_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Tokens> tokens_ = std::make_shared<Tokens>();
  RequestRates rates_;
  RequestRates refusals_;  // that are written down
  // Certificates that were seen, so that each is read once.
  mutable std::map<std::string, std::shared_ptr<const transport::Certificate>, std::less<>> certificates_;
  std::string tokens_stamp_;  // what the file was when it was read; the looking thread's
  std::condition_variable stop_changed_;
  bool stopping_ = false;
  std::thread watch_;
};

}  // namespace entrain::rpc
