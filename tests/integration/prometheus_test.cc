// The real Prometheus scrapes a real run and answers PromQL about its heads.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "base/files.h"
#include "base/strings.h"
#include "tests/integration/cluster.h"

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

class Prometheus {
 public:
  Prometheus(const std::string& dir, const std::string& target) : address_(StrCat("127.0.0.1:", FreePort())) {
    const std::string config = dir + "/prometheus.yml";
    EXPECT_TRUE(WriteFileAtomically(config, StrCat("global:\n  scrape_interval: 500ms\nscrape_configs:\n  - job_name: entrain\n"
                                                   "    static_configs:\n      - targets: ['", target, "']\n"))
                    .ok());
    server_ = Process::Start({"/usr/bin/prometheus", "--config.file=" + config, "--storage.tsdb.path=" + dir + "/tsdb",
                              "--web.listen-address=" + address_, "--log.level=warn"},
                             dir + "/prometheus.log");
  }
  // The values of a query's series, one a line.
  std::string Query(const std::string& promql) {
    return RunCommand(StrCat("promtool query instant http://", address_, " '", promql, "' 2>/dev/null"));
  }

 private:
  std::string address_;
  Process server_;
};

int Lines(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

TEST(RealPrometheus, AnswersForEveryHeadAndForgetsFinishedRuns) {
  Cluster cluster("prometheus");
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 2);
  Prometheus prometheus(cluster.root(), cluster.worker_metrics_address("w1"));
  const std::string sweep = cluster.Submit(SmallSweep("observed", "SM+LN+G", 4000, 2));
  const auto run = cluster.AwaitStep(sweep, 20);
  const std::string heads = StrCat("entrain_attention_entropy_nats{run=\"", run.id(), "\"}");
  EXPECT_TRUE(Eventually([&] { return Lines(prometheus.Query(heads)) == 4; })) << prometheus.Query(heads);
  // The variant comes by joining the info series.
  const std::string joined =
      StrCat("max(", heads, " * on(run) group_left(variant) entrain_run_info) by (variant)");
  EXPECT_TRUE(Eventually([&] { return prometheus.Query(joined).find("SM+LN+G") != std::string::npos; }))
      << prometheus.Query(joined);
  const std::string lowest = StrCat("entrain_attention_entropy_window_min_nats{run=\"", run.id(), "\",layer=\"1\",head=\"1\"}");
  EXPECT_TRUE(Eventually([&] { return Lines(prometheus.Query(lowest)) == 1; })) << prometheus.Query(lowest);

  v1::StopRequest stop;
  stop.set_id(run.id());
  v1::StopResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(cluster.stub().Stop(&context, stop, &response).ok());
  cluster.AwaitState(sweep, "cancelled");
  EXPECT_TRUE(Eventually([&] { return prometheus.Query(heads).find("=>") == std::string::npos; })) << prometheus.Query(heads);
}

}  // namespace
}  // namespace entrain::testing
