// An ordered map whose copies share structure: copying is O(1), a change copies one path of O(log n) nodes. The core publishes its
// whole state after every commit, decides on a scratch copy and throws it away; neither may cost O(everything).
//
// A map is a value: one thread changes its own copy while others read theirs. Nodes are immutable and counted atomically.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace entrain::scheduler {

template <typename Key, typename Value>
class PersistentMap {
  struct Node;
  using Link = std::shared_ptr<const Node>;
  struct Node {
    std::pair<const Key, Value> entry;
    Link left;
    Link right;
    int height;
    Node(std::pair<const Key, Value> e, Link l, Link r)
        : entry(std::move(e)), left(std::move(l)), right(std::move(r)), height(1 + std::max(HeightOf(left), HeightOf(right))) {}
  };

 public:
  // In key order. Valid while the map it came from (or a copy of it) is unchanged.
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = std::pair<const Key, Value>;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = const value_type&;

    Iterator() = default;
    reference operator*() const { return path_.back()->entry; }
    pointer operator->() const { return &path_.back()->entry; }
    Iterator& operator++() {
      const Node* node = path_.back();
      path_.pop_back();
      Descend(node->right.get());
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      if (a.path_.empty() || b.path_.empty()) return a.path_.empty() == b.path_.empty();
      return a.path_.back() == b.path_.back();
    }

   private:
    friend class PersistentMap;
    void Descend(const Node* node) {
      for (; node != nullptr; node = node->left.get()) path_.push_back(node);
    }
    // The node itself and those of its ancestors that come after it.
    std::vector<const Node*> path_;
  };

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  // nullptr when absent; valid until this copy changes.
  const Value* Find(const Key& key) const {
    const Node* node = root_.get();
    while (node != nullptr) {
      const auto order = key <=> node->entry.first;
      if (order == 0) return &node->entry.second;
      node = order < 0 ? node->left.get() : node->right.get();
    }
    return nullptr;
  }
  bool Contains(const Key& key) const { return Find(key) != nullptr; }

  // Inserts or replaces.
  void Set(const Key& key, Value value) {
    bool inserted = false;
    root_ = Inserted(root_, key, std::move(value), &inserted);
    if (inserted) ++size_;
  }
  // Whether it was there.
  bool Erase(const Key& key) {
    if (!Contains(key)) return false;
    root_ = Erased(root_, key);
    --size_;
    return true;
  }

  Iterator begin() const {
    Iterator iterator;
    iterator.Descend(root_.get());
    return iterator;
  }
  Iterator end() const { return Iterator(); }
  // The first entry whose key is not less than `key`.
  Iterator LowerBound(const Key& key) const {
    return Bound([&key](const Key& at) { return !(at < key); });
  }
  // The first entry whose key is greater than `key`.
  Iterator UpperBound(const Key& key) const {
    return Bound([&key](const Key& at) { return key < at; });
  }

 private:
  static int HeightOf(const Link& link) { return link == nullptr ? 0 : link->height; }

  static Link Make(const std::pair<const Key, Value>& entry, Link left, Link right) {
    return std::make_shared<const Node>(entry, std::move(left), std::move(right));
  }

  // AVL: the heights of two siblings differ by at most 1; callers change one side by at most 1.
  static Link Balanced(const std::pair<const Key, Value>& entry, Link left, Link right) {
    const int lean = HeightOf(left) - HeightOf(right);
    if (lean > 1) {
      if (HeightOf(left->left) >= HeightOf(left->right)) {
        return Make(left->entry, left->left, Make(entry, left->right, std::move(right)));
      }
      const Link middle = left->right;
      return Make(middle->entry, Make(left->entry, left->left, middle->left), Make(entry, middle->right, std::move(right)));
    }
    if (lean < -1) {
      if (HeightOf(right->right) >= HeightOf(right->left)) {
        return Make(right->entry, Make(entry, std::move(left), right->left), right->right);
      }
      const Link middle = right->left;
      return Make(middle->entry, Make(entry, std::move(left), middle->left), Make(right->entry, middle->right, right->right));
    }
    return Make(entry, std::move(left), std::move(right));
  }

  static Link Inserted(const Link& at, const Key& key, Value value, bool* inserted) {
    if (at == nullptr) {
      *inserted = true;
      return Make(std::pair<const Key, Value>(key, std::move(value)), nullptr, nullptr);
    }
    const auto order = key <=> at->entry.first;
    if (order == 0) return Make(std::pair<const Key, Value>(key, std::move(value)), at->left, at->right);
    if (order < 0) return Balanced(at->entry, Inserted(at->left, key, std::move(value), inserted), at->right);
    return Balanced(at->entry, at->left, Inserted(at->right, key, std::move(value), inserted));
  }

  static Link Erased(const Link& at, const Key& key) {
    const auto order = key <=> at->entry.first;
    if (order < 0) return Balanced(at->entry, Erased(at->left, key), at->right);
    if (order > 0) return Balanced(at->entry, at->left, Erased(at->right, key));
    if (at->left == nullptr) return at->right;
    if (at->right == nullptr) return at->left;
    const Node* successor = at->right.get();
    while (successor->left != nullptr) successor = successor->left.get();
    return Balanced(successor->entry, at->left, Erased(at->right, successor->entry.first));
  }

  template <typename AtOrAfter>
  Iterator Bound(AtOrAfter at_or_after) const {
    Iterator iterator;
    for (const Node* node = root_.get(); node != nullptr;) {
      if (at_or_after(node->entry.first)) {
        iterator.path_.push_back(node);
        node = node->left.get();
      } else {
        node = node->right.get();
      }
    }
    return iterator;
  }

  Link root_;
  std::size_t size_ = 0;
};

// Keys alone, with the same promises.
struct Present {
  friend bool operator==(const Present&, const Present&) = default;
};
template <typename Key>
using PersistentSet = PersistentMap<Key, Present>;

}  // namespace entrain::scheduler
