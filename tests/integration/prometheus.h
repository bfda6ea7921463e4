// A real Prometheus beside a cluster.
#pragma once

#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace entrain::testing {

class Prometheus {
 public:
  // Scrapes each target twice a second; evaluates `rules_file` as often, when given. Its files go to `dir`.
  Prometheus(const std::string& dir, const std::vector<std::string>& targets, const std::string& rules_file = "");
  // The series of an instant query, one a line.
  std::string Query(const std::string& promql) const;

 private:
  std::string address_;
  Process server_;
};

}  // namespace entrain::testing
