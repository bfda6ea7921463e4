#include "coordinator/scheduler/persistent_map.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

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
    ASSERT_EQ(map.CountBelow(key), static_cast<std::size_t>(std::distance(model.begin(), model.lower_bound(key))));
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

TEST(PersistentMap, AChangeInPlaceStaysInItsCopy) {
  PersistentMap<int, std::string> map;
  for (int key = 0; key < 1'000; ++key) map.Set(key, "old");
  const PersistentMap<int, std::string> before = map;
  const std::string* const kept = before.Find(500);
  // The first change copies its path, the others change the copy where it is.
  for (int i = 0; i < 3; ++i) *map.Edit(500) += "+";
  EXPECT_EQ(map.Edit(1'000), nullptr);
  EXPECT_EQ(*map.Find(500), "old+++");
  EXPECT_EQ(*kept, "old");
  EXPECT_EQ(before.Find(500), kept);
  EXPECT_EQ(map.First().first, 0);
}

TEST(PersistentMap, StaysBalanced) {
  // An iterator keeps its path in a fixed array: in order is what would make a plain tree a list.
  PersistentMap<int, int> map;
  for (int key = 0; key < 200'000; ++key) map.Set(key, key);
  for (int key = 0; key < 200'000; key += 1 + key % 3) map.Erase(key);
  int last = -1;
  std::size_t seen = 0;
  for (const auto& [key, value] : map) {
    ASSERT_LT(last, key);
    last = key;
    ++seen;
  }
  EXPECT_EQ(seen, map.size());
}

TEST(PersistentMap, ReadersOfOldCopiesAreNotDisturbed) {
  PersistentMap<int, std::string> map;
  for (int key = 0; key < 500; ++key) map.Set(key, std::to_string(key));
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([copy = map]() mutable {
      for (int round = 0; round < 50; ++round) {
        int sum = 0;
        for (const auto& [key, value] : copy) sum += std::stoi(value) - key;
        EXPECT_EQ(sum, 0);
      }
      copy = {};
    });
  }
  for (int round = 0; round < 50; ++round) {
    for (int key = 50 + round % 7; key < 500; key += 7) *map.Edit(key) = "x";
    map.Erase(round);
  }
  for (std::thread& reader : readers) reader.join();
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
