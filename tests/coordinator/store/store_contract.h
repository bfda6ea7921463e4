// One contract, held by every store: instantiate StoreTest with the kinds that a test program has.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "coordinator/store/store.h"

namespace entrain::store {

// A store and what must outlive it.
struct OpenedStore {
  std::shared_ptr<void> beneath;
  std::unique_ptr<Store> store;  // null: this machine cannot run it
};

struct StoreKind {
  std::string name;
  // `dir` is the test's own folder and the same at every opening.
  OpenedStore (*open)(const std::string& dir) = nullptr;
  bool outlives_closing = true;
};

class StoreTest : public ::testing::TestWithParam<StoreKind> {
 protected:
  void SetUp() override;
  void TearDown() override;
  void Open();
  void Reopen();
  // Names of the runs that were requeued, in order; the kinds of other facts.
  std::vector<std::string> Replayed();
  std::vector<std::pair<AttemptNumber, std::int64_t>> CurrentSteps(std::int64_t after = 0, std::int64_t limit = 1'000'000);

  std::string dir_;
  std::shared_ptr<void> beneath_;
  std::unique_ptr<Store> store_;
};

inline std::string NameOfKind(const ::testing::TestParamInfo<StoreKind>& kind) { return kind.param.name; }

}  // namespace entrain::store
