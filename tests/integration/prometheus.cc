#include "tests/integration/prometheus.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/files.h"
#include "base/strings.h"

namespace entrain::testing {
namespace {

std::string RunCommand(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string output;
  char buffer[4096];
  while (std::size_t count = fread(buffer, 1, sizeof(buffer), pipe)) output.append(buffer, count);
  pclose(pipe);
  return output;
}

// A port that was free a moment ago: Prometheus does not take port 0.
int FreePort() {
  return std::stoi(RunCommand("python3 -c 'import socket; s=socket.socket(); s.bind((\"127.0.0.1\",0)); print(s.getsockname()[1])'"));
}

}  // namespace

Prometheus::Prometheus(const std::string& dir, const std::vector<std::string>& targets, const std::string& rules_file)
    : address_(StrCat("127.0.0.1:", FreePort())) {
  std::string config = "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\n";
  if (!rules_file.empty()) StrAppend(&config, "rule_files: ['", rules_file, "']\n");
  StrAppend(&config, "scrape_configs:\n  - job_name: entrain\n    static_configs:\n      - targets:\n");
  for (const std::string& target : targets) StrAppend(&config, "          - '", target, "'\n");
  const std::string path = dir + "/prometheus.yml";
  EXPECT_TRUE(WriteFileAtomically(path, config).ok());
  server_ = Process::Start({"/usr/bin/prometheus", "--config.file=" + path, "--storage.tsdb.path=" + dir + "/tsdb",
                            "--web.listen-address=" + address_, "--log.level=warn"},
                           dir + "/prometheus.log");
}

std::string Prometheus::Query(const std::string& promql) const {
  return RunCommand(StrCat("promtool query instant http://", address_, " '", promql, "' 2>/dev/null"));
}

}  // namespace entrain::testing
