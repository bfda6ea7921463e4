// The HTTP side: /metrics and /healthz on one address.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "prometheus/metric_family.h"

namespace prometheus {
class Collectable;
class Exposer;
}  // namespace prometheus

namespace entrain::metrics {

class Exposition {
 public:
  // Called once a scrape, on a thread of the server.
  using CollectFunction = std::function<std::vector<prometheus::MetricFamily>()>;

  // `address` is HOST:PORT; port 0 takes a free one. UNAVAILABLE when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<Exposition>> Serve(const std::string& address, CollectFunction collect);
  // No call of `collect` is under way or begins once this returns.
  ~Exposition();

  int port() const;

 private:
  Exposition();

  std::string host_;
  std::shared_ptr<prometheus::Collectable> metrics_;
  std::shared_ptr<prometheus::Collectable> health_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace entrain::metrics
