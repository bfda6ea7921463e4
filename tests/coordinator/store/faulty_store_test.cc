#include "coordinator/store/faulty_store.h"

#include <gtest/gtest.h>

namespace entrain::store {
namespace {

domain::Fact PausedFact(std::int64_t at_ms) { return {at_ms, at_ms, domain::RunPaused{RunId("r1"), "why"}}; }

std::int64_t FactsAfter(Fault fault) {
  const auto inner = MakeMemoryStore();
  const auto store = MakeFaultyStore(inner.get(), {.fail_commit = 2, .fault = fault});
  EXPECT_TRUE(store->Commit({}, {PausedFact(1), PausedFact(1)}).ok());
  EXPECT_EQ(store->Commit({}, {PausedFact(2), PausedFact(2)}).code(), absl::StatusCode::kResourceExhausted);
  std::int64_t facts = 0;
  EXPECT_TRUE(inner->Replay([&](const domain::Fact&) { ++facts; }).ok());
  return facts;
}

TEST(FaultyStoreTest, FailsTheChosenCommitInTheChosenWay) {
  EXPECT_EQ(FactsAfter(Fault::kRefused), 2);
  EXPECT_EQ(FactsAfter(Fault::kTorn), 3);
  EXPECT_EQ(FactsAfter(Fault::kUnknown), 4);
}

TEST(FaultyStoreTest, FailsTheChosenAppend) {
  const auto inner = MakeMemoryStore();
  const auto store = MakeFaultyStore(inner.get(), {.fail_append = 1});
  EXPECT_FALSE(store->AppendSamples(RunId("r"), 64, {}, {}).ok());
  EXPECT_TRUE(store->AppendSamples(RunId("r"), 64, {}, {}).ok());
}

TEST(FaultyStoreTest, FailsTheChosenSnapshotAndTheOneBeforeStays) {
  for (const auto& [fault, facts_since] : {std::pair(Fault::kRefused, 1), std::pair(Fault::kTorn, 1), std::pair(Fault::kUnknown, 0)}) {
    const auto inner = MakeMemoryStore();
    const auto store = MakeFaultyStore(inner.get(), {.fail_snapshot = 2, .fault = fault});
    ASSERT_TRUE(store->Commit({}, {PausedFact(1)}).ok());
    ASSERT_TRUE(store->WriteSnapshot({PausedFact(1)}).ok());
    ASSERT_TRUE(store->Commit({}, {PausedFact(2)}).ok());
    EXPECT_FALSE(store->WriteSnapshot({PausedFact(1), PausedFact(2)}).ok());
    EXPECT_EQ(inner->FactsSinceSnapshot(), facts_since);
  }
}

}  // namespace
}  // namespace entrain::store
