// The contract, held by the stores that need no server.
#include "coordinator/store/store.h"

#include <gtest/gtest.h>

#include "store_contract.h"

namespace entrain::store {
namespace {

OpenedStore OpenSqlite(const std::string& dir) {
  auto opened = OpenSqliteStore(dir + "/coordinator.db");
  EXPECT_TRUE(opened.ok()) << opened.status();
  return {nullptr, opened.ok() ? *std::move(opened) : nullptr};
}

OpenedStore OpenMemory(const std::string& /*dir*/) { return {nullptr, MakeMemoryStore()}; }

INSTANTIATE_TEST_SUITE_P(Stores, StoreTest,
                         testing::Values(StoreKind{"sqlite", OpenSqlite, true}, StoreKind{"memory", OpenMemory, false}), NameOfKind);

}  // namespace
}  // namespace entrain::store
