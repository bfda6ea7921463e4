#include "coordinator/pool/kubernetes_gang_pool.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace entrain::pool {
namespace {

using nlohmann::json;

constexpr char kTemplate[] = R"({
  "apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
  "metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm", "team": "x"}},
  "spec": {"replicatedJobs": [{"name": "worker", "template": {"spec": {"completionMode": "Indexed",
      "template": {"metadata": {"labels": {"team": "x"}}, "spec": {"containers": []}}}}}]}})";

JobSetOrder Order() { return {"ns", "entrain", "gangs", RunId("r0123456789"), 3}; }

json Template(const std::function<void(json*)>& change) {
  json parsed = json::parse(kTemplate);
  change(&parsed);
  return parsed;
}

TEST(JobSetTemplate, WhatItMustBe) {
  EXPECT_TRUE(ParseJobSetTemplate(kTemplate, "t").ok());
  const auto job = [](json* j) -> json& { return (*j)["spec"]["replicatedJobs"][0]; };
  const std::pair<std::string, json> bad[] = {
      {"is no JobSet", Template([](json* j) { (*j)["kind"] = "Job"; })},
      {"is no JobSet", Template([](json* j) { (*j)["apiVersion"] = "jobset.x-k8s.io/v1alpha1"; })},
      {"must be one job", Template([&](json* j) { (*j)["spec"]["replicatedJobs"].push_back(job(j)); })},
      {"must be one job", Template([](json* j) { (*j)["spec"]["replicatedJobs"] = json::array(); })},
      {"must be one job", Template([](json* j) { j->erase("spec"); })},
      {"at most 12 characters", Template([&](json* j) { job(j)["name"] = "a-long-job-name"; })},
      {"replicas must be 1", Template([&](json* j) { job(j)["replicas"] = 2; })},
      {"must be Indexed", Template([&](json* j) { job(j)["template"]["spec"]["completionMode"] = "NonIndexed"; })},
      {"template.spec is missing", Template([&](json* j) { job(j)["template"]["spec"]["template"].erase("spec"); })},
      {"must be maps", Template([](json* j) { (*j)["metadata"]["labels"] = "x"; })},
      {"must be maps", Template([&](json* j) { job(j)["template"]["spec"]["template"]["metadata"]["labels"] = json::array(); })},
  };
  for (const auto& [why, made] : bad) {
    const auto parsed = ParseJobSetTemplate(made.dump(), "/etc/jobset.json");
    ASSERT_FALSE(parsed.ok()) << made.dump();
    EXPECT_NE(parsed.status().message().find(why), std::string::npos) << parsed.status();
    EXPECT_EQ(parsed.status().message().find("/etc/jobset.json: "), 0u) << parsed.status();
  }
  EXPECT_FALSE(ParseJobSetTemplate("{", "t").ok());
  EXPECT_FALSE(ParseJobSetTemplate("[]", "t").ok());
}

TEST(JobSetOf, NameLabelsAndMachinesAreAdded) {
  const json made = JobSetOf(json::parse(kTemplate), Order());
  EXPECT_EQ(made["metadata"]["name"], "gangs-r0123456789");
  EXPECT_EQ(made["metadata"]["namespace"], "ns");
  EXPECT_EQ(made["metadata"]["annotations"]["entrain/run"], "r0123456789");
  const json& job = made["spec"]["replicatedJobs"][0]["template"]["spec"];
  EXPECT_EQ(job["parallelism"], 3);
  EXPECT_EQ(job["completions"], 3);
  for (const json& labels : {made["metadata"]["labels"], job["template"]["metadata"]["labels"]}) {
    EXPECT_EQ(labels["app.kubernetes.io/managed-by"], "entrain-coordinator");
    EXPECT_EQ(labels["entrain/cluster"], "entrain");
    EXPECT_EQ(labels["entrain/pool"], "gangs");
    EXPECT_EQ(labels["team"], "x");
  }
}

TEST(JobSetOf, SuspendedOnlyWhereKueueReleasesIt) {
  json held = json::parse(kTemplate);
  held["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "training";
  EXPECT_EQ(JobSetOf(held, Order())["spec"]["suspend"], true);
  EXPECT_EQ(JobSetOf(json::parse(kTemplate), Order())["spec"]["suspend"], false);
}

TEST(JobSetName, IsOneForARunAndAlwaysAName) {
  JobSetOrder order = Order();
  EXPECT_EQ(JobSetName(order), "gangs-r0123456789");
  for (const std::string run : {"", "R7", "r/7", "r0123456789abcdef", "r\n"}) {
    order.run = RunId(run);
    const std::string name = JobSetName(order);
    EXPECT_EQ(name, JobSetName(order));
    EXPECT_EQ(name.size(), 18u) << name;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-"), std::string::npos) << name;
  }
}

TEST(GangPool, KnowsItsWorkersByName) {
  PoolLimits limits;
  limits.name = "gangs";
  limits.gang_shaped = true;
  const KubernetesGangPool pool(limits, "entrain", json::parse(kTemplate), nullptr);
  EXPECT_TRUE(pool.Owns("gangs-r0123456789-worker-0-3-x7k2p"));
  for (const char* other : {"gangs-worker-0", "gangs", "gangs-r0123456789", "gang-r0123456789-worker-0-3-x7k2p", "entrain-worker-0",
                            "gangs-other-r0123456789-worker-0-3-x7k2p", "gangs--worker-0-1"}) {
    EXPECT_FALSE(pool.Owns(other)) << other;
  }
}

}  // namespace
}  // namespace entrain::pool
