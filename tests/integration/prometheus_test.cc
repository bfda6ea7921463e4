// The real Prometheus scrapes a real run and answers PromQL about its heads.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/strings.h"
#include "tests/integration/cluster.h"
#include "tests/integration/prometheus.h"

namespace entrain::testing {
namespace {

int Lines(const std::string& text) { return static_cast<int>(std::count(text.begin(), text.end(), '\n')); }

TEST(RealPrometheus, AnswersForEveryHeadAndForgetsFinishedRuns) {
  Cluster cluster("prometheus");
  cluster.StartCoordinator();
  cluster.StartWorker("w1", 2);
  const Prometheus prometheus(cluster.root(), {cluster.worker_metrics_address("w1")});
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
