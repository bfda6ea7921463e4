#include "coordinator/scheduler/persistent_map.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/random.h"

namespace entrain::scheduler {
namespace {

TEST(PersistentMap, IsAnOrderedMapWhoseOldCopiesNeverChange) {
  Rng rng(1, 0);
  PersistentMap<int, std::string> map;
  std::map<int, std::string> model;
  std::vector<std::pair<PersistentMap<int, std::string>, std::map<int, std::string>>> copies;
  for (int i = 0; i < 4'000; ++i) {
    const int key = static_cast<int>(rng.Below(300));
    if (rng.Below(3) == 0) {
      EXPECT_EQ(map.Erase(key), model.erase(key) == 1);
    } else {
      map.Set(key, std::to_string(i));
      model[key] = std::to_string(i);
    }
    ASSERT_EQ(map.size(), model.size());
    const auto bound = map.LowerBound(key);
    const auto expected = model.lower_bound(key);
    ASSERT_EQ(bound == map.end(), expected == model.end());
    if (expected != model.end()) {
      ASSERT_EQ(bound->first, expected->first);
    }
    const auto above = map.UpperBound(key);
    const auto expected_above = model.upper_bound(key);
    ASSERT_EQ(above == map.end(), expected_above == model.end());
    if (expected_above != model.end()) {
      ASSERT_EQ(above->second, expected_above->second);
    }
    if (i % 500 == 0) copies.emplace_back(map, model);
  }
  copies.emplace_back(map, model);
  for (const auto& [copy, expected] : copies) {
    ASSERT_TRUE(std::equal(copy.begin(), copy.end(), expected.begin(), expected.end(),
                           [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; }));
  }
}

TEST(PersistentMap, FindsOnlyWhatIsThere) {
  PersistentMap<std::string, int> map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.begin(), map.end());
  map.Set("b", 2);
  EXPECT_EQ(*map.Find("b"), 2);
  EXPECT_EQ(map.Find("a"), nullptr);
  EXPECT_FALSE(map.Erase("a"));
  EXPECT_TRUE(map.Erase("b"));
  EXPECT_EQ(map.size(), 0U);
}

}  // namespace
}  // namespace entrain::scheduler
