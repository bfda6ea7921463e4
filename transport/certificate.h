// Who a certificate says that its holder is. Whether it is genuine was settled by TLS before.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::transport {

// An organisation (O) in the subject of a worker's certificate: what has it may be a worker and is no person.
inline constexpr std::string_view kWorkersOrganization = "entrain:workers";

struct Certificate {
  std::string common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> dns_names;  // subject alternative names

  bool IsWorkers() const;
  // Whether a worker of this name may show it: the name is the common name, a DNS name or the first part of one. A DNS name *.POOL.REST stands
  // for every machine whose name begins with POOL-, as pods share a certificate; then one is not told from another.
  bool Names(std::string_view worker) const;
};

// Of a PEM block; INVALID_ARGUMENT when it is none.
absl::StatusOr<Certificate> ParseCertificate(std::string_view pem);

}  // namespace entrain::transport
