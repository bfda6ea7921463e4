#include "tests/integration/prometheus.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "base/files.h"
#include "base/strings.h"
#include "tests/metrics/http_get.h"

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

Prometheus::Prometheus(const std::string& dir, const std::vector<std::string>& targets, const std::string& rules_file,
                       const std::string& alertmanager)
    : address_(StrCat("127.0.0.1:", FreePort())) {
  std::string config = "global: {scrape_interval: 1s, evaluation_interval: 500ms}\n";
  if (!rules_file.empty()) StrAppend(&config, "rule_files: ['", rules_file, "']\n");
  if (!alertmanager.empty()) StrAppend(&config, "alerting: {alertmanagers: [{static_configs: [{targets: ['", alertmanager, "']}]}]}\n");
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

Alertmanager::Alertmanager(const std::string& dir, const std::string& config_file) : address_(StrCat("127.0.0.1:", FreePort())) {
  server_ = Process::Start({"/usr/bin/prometheus-alertmanager", "--config.file=" + config_file, "--storage.path=" + dir + "/alertmanager",
                            "--web.listen-address=" + address_, "--cluster.listen-address=", "--log.level=error"},
                           dir + "/alertmanager.log");
}

std::string Alertmanager::Alerts(const std::string& matcher) const {
  return RunCommand(StrCat("amtool --alertmanager.url=http://", address_, " alert query -o json '", matcher, "' 2>/dev/null"));
}

std::string ScrapeText(const std::string& address) {
  return metrics::HttpGet(std::stoi(address.substr(address.rfind(':') + 1)), "/metrics").body;
}

std::string CheckMetrics(const std::string& address) {
  const std::string text = ScrapeText(address);
  if (text.empty()) return "nothing served at " + address;
  const std::string path = StrCat(::testing::TempDir(), "/exposition-", ::getpid(), ".txt");
  EXPECT_TRUE(WriteFileAtomically(path, text).ok());
  return RunCommand(StrCat("promtool check metrics < '", path, "' 2>&1"));
}

}  // namespace entrain::testing
