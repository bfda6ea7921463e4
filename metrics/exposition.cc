#include "metrics/exposition.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <exception>
#include <stop_token>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "prometheus/collectable.h"
#include "prometheus/exposer.h"

namespace entrain::metrics {
namespace {

// Between choosing a free port and binding it another process may take it.
constexpr int kFreePortAttempts = 20;

class CollectByFunction : public prometheus::Collectable {
 public:
  explicit CollectByFunction(Exposition::CollectFunction collect) : collect_(std::move(collect)) {}
  std::vector<prometheus::MetricFamily> Collect() const override { return collect_(); }

 private:
  Exposition::CollectFunction collect_;
};

std::vector<prometheus::MetricFamily> Healthy() {
  prometheus::ClientMetric one;
  one.gauge.value = 1;
  prometheus::MetricFamily up;
  up.name = "entrain_healthy";
  up.help = "1: this process serves.";
  up.type = prometheus::MetricType::Gauge;
  up.metric = {one};
  return {up};
}

struct HostPort {
  std::string host;
  std::string port;
};

absl::StatusOr<HostPort> SplitAddress(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon + 1 == address.size() || colon == 0) {
    return absl::InvalidArgumentError(StrCat("metrics address must be HOST:PORT, is \"", address, "\""));
  }
  HostPort parts{address.substr(0, colon), address.substr(colon + 1)};
  if (parts.port.find_first_not_of("0123456789") != std::string::npos || parts.port.size() > 5 ||
      std::stoi(parts.port) > 65535) {
    return absl::InvalidArgumentError(StrCat("metrics address has no port in 0..65535: \"", address, "\""));
  }
  return parts;
}

std::string WithoutBrackets(const std::string& host) {
  return host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2) : host;
}

using AddressList = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<AddressList> Resolve(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(WithoutBrackets(host).c_str(), port.c_str(), &hints, &found); error != 0) {
    return absl::InvalidArgumentError(StrCat("metrics address: ", host, ": ", gai_strerror(error)));
  }
  return AddressList(found, &freeaddrinfo);
}

// A port that was free a moment ago on `host`.
absl::StatusOr<int> FreePort(const std::string& host) {
  ENTRAIN_ASSIGN_OR_RETURN(const AddressList found, Resolve(host, "0"));
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool ok = fd >= 0 && bind(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                  getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0;
  if (fd >= 0) close(fd);
  if (!ok) return absl::UnavailableError(StrCat("no free port for metrics on ", host));
  char port[NI_MAXSERV];
  getnameinfo(reinterpret_cast<sockaddr*>(&bound), length, nullptr, 0, port, sizeof port, NI_NUMERICSERV);
  return std::stoi(port);
}

// Civetweb throws when it cannot bind; its exception's header is not installed.
absl::StatusOr<std::unique_ptr<prometheus::Exposer>> Bind(const std::string& address) {
  try {
    return std::make_unique<prometheus::Exposer>(address);
  } catch (const std::exception& error) {
    return absl::UnavailableError(StrCat("cannot serve metrics on ", address,
                                         ": the address is in use or not of this machine (", error.what(), ")"));
  }
}

absl::StatusOr<std::unique_ptr<prometheus::Exposer>> BindFreePort(const std::string& host) {
  absl::Status last;
  for (int attempt = 0; attempt < kFreePortAttempts; ++attempt) {
    ENTRAIN_ASSIGN_OR_RETURN(const int port, FreePort(host));
    auto exposer = Bind(StrCat(host, ":", port));
    if (exposer.ok()) return exposer;
    last = exposer.status();
  }
  return last;
}

// One connection that asks nothing.
void Knock(const std::string& host, int port) {
  const auto found = Resolve(host, std::to_string(port));
  if (!found.ok()) return;
  const int fd = socket((*found)->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return;
  connect(fd, (*found)->ai_addr, (*found)->ai_addrlen);
  close(fd);
}

}  // namespace

Exposition::Exposition() = default;

// The server looks whether to stop after each connection, and otherwise every two seconds.
Exposition::~Exposition() {
  if (exposer_ == nullptr) return;
  std::jthread knocking([host = host_, port = port()](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      Knock(host, port);
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  exposer_.reset();
}

absl::StatusOr<std::unique_ptr<Exposition>> Exposition::Serve(const std::string& address, CollectFunction collect) {
  ENTRAIN_ASSIGN_OR_RETURN(const HostPort parts, SplitAddress(address));
  auto exposer = std::stoi(parts.port) == 0 ? BindFreePort(parts.host) : Bind(address);
  if (!exposer.ok()) return exposer.status();
  auto exposition = std::unique_ptr<Exposition>(new Exposition());
  exposition->host_ = parts.host;
  exposition->metrics_ = std::make_shared<CollectByFunction>(std::move(collect));
  exposition->health_ = std::make_shared<CollectByFunction>(Healthy);
  exposition->exposer_ = std::move(exposer).value();
  exposition->exposer_->RegisterCollectable(exposition->metrics_, "/metrics");
  exposition->exposer_->RegisterCollectable(exposition->health_, "/healthz");
  return exposition;
}

int Exposition::port() const { return exposer_->GetListeningPorts().front(); }

}  // namespace entrain::metrics
