#include "coordinator/pool/kubernetes_pods.h"

#include <gtest/gtest.h>

#include "coordinator/pool/kubernetes_api.h"

namespace entrain::pool {
namespace {

using nlohmann::json;
using State = PoolMachine::State;

json Pod(const std::string& status, const std::string& metadata = R"({"name": "w-0"})") {
  return json::parse(R"({"metadata": )" + metadata + R"(, "status": )" + status + "}");
}

struct Case {
  const char* status;
  State state;
  const char* detail;
};

TEST(KubernetesPods, WhatAPodsStatusMeans) {
  const Case cases[] = {
      {R"({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})", State::kUp, ""},
      {R"({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]})", State::kPending, "running, not ready yet"},
      {R"({"phase": "Pending"})", State::kPending, "starting"},
      {R"({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
           "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]})",
       State::kPending, "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."},
      {R"({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}],
           "containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]})",
       State::kPending, "starting"},
      {R"({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff",
           "message": "Back-off pulling image \"entrain-worker:0.1.0\""}}}]})",
       State::kPending, "ImagePullBackOff: Back-off pulling image \"entrain-worker:0.1.0\""},
      {R"({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}],
           "containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}}]})",
       State::kPending, "CrashLoopBackOff: back-off 5m0s"},
      {R"({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})", State::kLeaving,
       "Evicted: The node was low on resource: memory."},
      {R"({"phase": "Succeeded"})", State::kLeaving, "ended"},
  };
  for (const Case& each : cases) {
    const PoolMachine machine = MachineOfPod(Pod(each.status));
    EXPECT_EQ(machine.state, each.state) << each.status;
    EXPECT_EQ(machine.detail, each.detail) << each.status;
    EXPECT_EQ(machine.worker_name, "w-0");
  }
}

TEST(KubernetesPods, ADeletedPodIsLeavingHoweverReadyItIs) {
  const json pod = Pod(R"({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})",
                       R"({"name": "w-0", "deletionTimestamp": "2026-01-01T00:00:00Z"})");
  EXPECT_EQ(MachineOfPod(pod).state, State::kLeaving);
  EXPECT_EQ(MachineOfPod(pod).detail, "terminating");
}

TEST(KubernetesPods, FieldsOfAnotherTypeReadAsAbsent) {
  for (const char* text : {"{}", "[]", "7", R"("x")", R"({"metadata": [], "status": "x"})", R"({"metadata": {"name": 7}, "status": {"phase": {}}})",
                           R"({"status": {"phase": "Pending", "conditions": "x", "containerStatuses": [7, null, {"state": []}]}})",
                           R"({"status": {"phase": "Running", "conditions": [[], {"type": "Ready"}]}})"}) {
    const PoolMachine machine = MachineOfPod(json::parse(text));
    EXPECT_EQ(machine.state, State::kPending) << text;
    EXPECT_EQ(machine.worker_name, "") << text;
    EXPECT_FALSE(IsControlledBy(json::parse(text), "StatefulSet", "w")) << text;
    EXPECT_EQ(HowItEnded(json::parse(text)), "") << text;
    EXPECT_EQ(WhyNotAdmitted(json::parse(text)), "") << text;
  }
}

TEST(KubernetesPods, OrdinalsAreThoseOfTheSet) {
  EXPECT_EQ(OrdinalIn("entrain-worker", "entrain-worker-0"), 0);
  EXPECT_EQ(OrdinalIn("entrain-worker", "entrain-worker-17"), 17);
  for (const char* other : {"entrain-worker", "entrain-worker-", "entrain-worker-01", "entrain-worker-1a", "entrain-worker--1", "entrain-worker-+1",
                            "entrain-workers-1", "other-1", "", "entrain-worker-99999999999999999999", "entrain-worker-0-1"}) {
    EXPECT_EQ(OrdinalIn("entrain-worker", other), std::nullopt) << other;
  }
}

TEST(KubernetesPods, OnlyTheControllingOwnerCounts) {
  const auto pod = [](const char* owners) { return json::parse(std::string(R"({"metadata": {"ownerReferences": )") + owners + "}}"); };
  EXPECT_TRUE(IsControlledBy(pod(R"([{"kind": "StatefulSet", "name": "w", "controller": true}])"), "StatefulSet", "w"));
  EXPECT_FALSE(IsControlledBy(pod(R"([{"kind": "StatefulSet", "name": "w"}])"), "StatefulSet", "w"));
  EXPECT_FALSE(IsControlledBy(pod(R"([{"kind": "Job", "name": "w", "controller": true}])"), "StatefulSet", "w"));
  EXPECT_FALSE(IsControlledBy(pod(R"([{"kind": "StatefulSet", "name": "v", "controller": true}])"), "StatefulSet", "w"));
}

TEST(KubernetesPods, WhatEndsAJobSet) {
  const auto with = [](const char* condition) { return json::parse(std::string(R"({"status": {"conditions": [)") + condition + "]}}"); };
  EXPECT_EQ(HowItEnded(with(R"({"type": "Failed", "status": "True", "message": "jobset failed"})")), "Failed: jobset failed");
  EXPECT_EQ(HowItEnded(with(R"({"type": "Completed", "status": "True"})")), "Completed");
  EXPECT_EQ(HowItEnded(with(R"({"type": "Suspended", "status": "True"})")), "");
  EXPECT_EQ(HowItEnded(with(R"({"type": "Failed", "status": "False"})")), "");
}

TEST(KubernetesPods, WhyKueueHoldsBack) {
  const auto with = [](const char* conditions) { return json::parse(std::string(R"({"status": {"conditions": )") + conditions + "}}"); };
  EXPECT_EQ(WhyNotAdmitted(with(R"([{"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": "insufficient unused quota"}])")),
            "Pending: insufficient unused quota");
  EXPECT_EQ(WhyNotAdmitted(with(R"([{"type": "QuotaReserved", "status": "True"}, {"type": "Admitted", "status": "True"}])")), "");
}

TEST(KubernetesText, OneLineCutsBetweenCharactersAndTakesControlsOut) {
  EXPECT_EQ(OneLine("a\nb\tc\x7f"), "a b c ");
  EXPECT_EQ(OneLine("abcdef", 3), "abc...");
  EXPECT_EQ(OneLine("ab\xc3\xa9", 3), "ab...");
  EXPECT_EQ(OneLine("ab\xc3\xa9", 4), "ab\xc3\xa9");
}

TEST(KubernetesText, QueriesAreEncoded) { EXPECT_EQ(UrlEncoded("a.b/c=d,e f&"), "a.b%2Fc%3Dd%2Ce%20f%26"); }

}  // namespace
}  // namespace entrain::pool
