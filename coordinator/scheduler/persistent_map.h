// An ordered map whose copies share structure: copying is O(1), a change copies one path of O(log n) nodes, and of nodes that no other
// copy shares none at all: they are changed where they are. The core publishes its whole state after every commit, decides on a scratch
// copy and throws it away; neither may cost O(everything), and a decision that touches the same run five times copies its path once.
//
// A map is a value, of fewer than 2^26 entries: one thread changes its own copy while others read theirs. Nodes are counted atomically, and one that is shared is
// never changed.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "coordinator/scheduler/spare_blocks.h"

namespace entrain::scheduler {

// A value behind a counted pointer, copied only when it is changed while shared. Never null, except after it was moved from.
template <typename T>
class CopyOnWrite {
 public:
  CopyOnWrite() : box_(new Box()) {}
  explicit CopyOnWrite(T value) : box_(new Box(std::move(value))) {}
  CopyOnWrite(const CopyOnWrite& other) : box_(other.box_) { Keep(); }
  CopyOnWrite(CopyOnWrite&& other) noexcept : box_(std::exchange(other.box_, nullptr)) {}
  CopyOnWrite& operator=(CopyOnWrite other) noexcept {
    std::swap(box_, other.box_);
    return *this;
  }
  ~CopyOnWrite() { Drop(); }

  const T& operator*() const { return box_->value; }
  const T* operator->() const { return &box_->value; }
  // The value, this owner's alone.
  T* Own() {
    // Acquire: whoever dropped it last has finished reading it.
    if (box_->owners.load(std::memory_order_acquire) != 1) {
      Box* const mine = new Box(box_->value);
      Drop();
      box_ = mine;
    }
    return &box_->value;
  }
  bool Shares(const CopyOnWrite& other) const { return box_ == other.box_; }
  // A copy of this owner is about to be made.
  void Prefetch() const { __builtin_prefetch(box_, 1); }

 private:
  struct Box {
    Box() = default;
    explicit Box(T&& v) : value(std::move(v)) {}
    explicit Box(const T& v) : value(v) {}
    static void* operator new(std::size_t) { return SpareBlocks<sizeof(Box)>::Take(); }
    static void operator delete(void* block) { SpareBlocks<sizeof(Box)>::Give(block); }
    std::atomic<std::uint32_t> owners{1};
    T value;
  };
  void Keep() const { box_->owners.fetch_add(1, std::memory_order_relaxed); }
  void Drop() {
    if (box_ != nullptr && box_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete box_;
  }
  Box* box_;
};

template <typename Key, typename Value>
class PersistentMap {
  struct Node;
  // A counted pointer to a node.
  class Link {
   public:
    Link() = default;
    explicit Link(Node* fresh) : node_(fresh) {}
    Link(const Link& other) : node_(other.node_) {
      if (node_ != nullptr) node_->owners.fetch_add(1, std::memory_order_relaxed);
    }
    Link(Link&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    Link& operator=(Link other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~Link() {
      if (node_ != nullptr && node_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete node_;
    }
    const Node* get() const { return node_; }
    const Node* operator->() const { return node_; }
    explicit operator bool() const { return node_ != nullptr; }
    // The node, this link's alone: one that another copy of the map shares is copied first.
    Node* Own() {
      if (node_->owners.load(std::memory_order_acquire) != 1) *this = Link(new Node(*node_));
      return node_;
    }

   private:
    Node* node_ = nullptr;
  };
  // With a string for a key and a counted value it is one line of the processor's cache.
  struct Node {
    std::atomic<std::uint32_t> owners{1};
    std::uint32_t height : 6 = 1;
    std::uint32_t size : 26 = 1;
    Link left;
    Link right;
    std::pair<Key, Value> entry;
    Node(const Key& key, Value value) : entry(key, std::move(value)) {}
    Node(const Node& other) : height(other.height), size(other.size), left(other.left), right(other.right), entry(other.entry) {}
    Node& operator=(const Node&) = delete;
    static void* operator new(std::size_t) { return SpareBlocks<sizeof(Node)>::Take(); }
    static void operator delete(void* block) { SpareBlocks<sizeof(Node)>::Give(block); }
  };
  // The height of a balanced tree of 2^32 entries is below 1.45 * 32.
  static constexpr std::size_t kMaxHeight = 48;

 public:
  // In key order. Valid while the map it came from is unchanged, or a copy of it that was made before the iterator lives.
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = std::pair<Key, Value>;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = const value_type&;

    Iterator() {}  // leaves the path as it is: only what was pushed is ever read
    Iterator(const Iterator& other) { *this = other; }
    Iterator& operator=(const Iterator& other) {
      depth_ = other.depth_;
      std::copy_n(other.path_.begin(), depth_, path_.begin());
      return *this;
    }
    reference operator*() const { return path_[depth_ - 1]->entry; }
    pointer operator->() const { return &path_[depth_ - 1]->entry; }
    Iterator& operator++() {
      const Node* node = path_[--depth_];
      Descend(node->right.get());
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      if (a.depth_ == 0 || b.depth_ == 0) return a.depth_ == b.depth_;
      return a.path_[a.depth_ - 1] == b.path_[b.depth_ - 1];
    }

   private:
    friend class PersistentMap;
    void Push(const Node* node) { path_[depth_++] = node; }
    void Descend(const Node* node) {
      for (; node != nullptr; node = node->left.get()) Push(node);
    }
    // The node itself and those of its ancestors that come after it.
    std::array<const Node*, kMaxHeight> path_;
    std::size_t depth_ = 0;
  };

  std::size_t size() const { return SizeOf(root_); }
  bool empty() const { return !root_; }

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
  // How many keys are less than `key`; O(log n).
  std::size_t CountBelow(const Key& key) const {
    std::size_t below = 0;
    for (const Node* node = root_.get(); node != nullptr;) {
      if (node->entry.first < key) {
        below += SizeOf(node->left) + 1;
        node = node->right.get();
      } else {
        node = node->left.get();
      }
    }
    return below;
  }
  // The first entry; the map must not be empty.
  const std::pair<Key, Value>& First() const {
    const Node* node = root_.get();
    while (node->left) node = node->left.get();
    return node->entry;
  }

  // Inserts or replaces.
  void Set(const Key& key, Value value) {
    if (Value* known = Edit(key)) {
      *known = std::move(value);
      return;
    }
    Insert(&root_, key, std::move(value));
  }
  // The value, to be changed in place; nullptr when absent. Valid until the next call on this map or a copy of it.
  Value* Edit(const Key& key) {
    // One bit a level: whether the way goes left.
    std::uint64_t lefts = 0;
    std::uint32_t depth = 0;
    for (const Node* node = root_.get();; ++depth) {
      if (node == nullptr) return nullptr;
      PrefetchShared(*node);
      const auto order = key <=> node->entry.first;
      if (order == 0) break;
      if (order < 0) lefts |= std::uint64_t{1} << depth;
      node = order < 0 ? node->left.get() : node->right.get();
    }
    Node* node = root_.Own();
    for (std::uint32_t level = 0; level < depth; ++level) node = ((lefts >> level & 1) != 0 ? node->left : node->right).Own();
    return &node->entry.second;
  }
  // Whether it was there.
  bool Erase(const Key& key) {
    const Node* node = root_.get();
    while (node != nullptr) {
      PrefetchShared(*node);
      const auto order = key <=> node->entry.first;
      if (order == 0) break;
      node = order < 0 ? node->left.get() : node->right.get();
    }
    if (node == nullptr) return false;
    Remove(&root_, key);
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
  static std::int32_t HeightOf(const Link& link) { return link ? static_cast<std::int32_t>(link->height) : 0; }
  static std::uint32_t SizeOf(const Link& link) { return link ? link->size : 0; }
  static std::int32_t LeanOf(const Node& node) { return HeightOf(node.left) - HeightOf(node.right); }
  static void Measure(Node* node) {
    node->height = static_cast<std::uint32_t>(1 + std::max(HeightOf(node->left), HeightOf(node->right))) & 63U;
    node->size = (1 + SizeOf(node->left) + SizeOf(node->right)) & ((1U << 26U) - 1U);
  }
  // What a copy of this node counts: fetched on the way down, all at once, instead of one after the other on the way that copies.
  static void PrefetchShared(const Node& node) {
    __builtin_prefetch(node.left.get(), 1);
    __builtin_prefetch(node.right.get(), 1);
    if constexpr (requires(const Value& value) { value.Prefetch(); }) node.entry.second.Prefetch();
  }

  // The left child takes its parent's place.
  static void RotateRight(Link* at) {
    Node* const node = at->Own();
    Link left = std::move(node->left);
    Node* const up = left.Own();
    node->left = std::move(up->right);
    Measure(node);
    up->right = std::move(*at);
    Measure(up);
    *at = std::move(left);
  }
  static void RotateLeft(Link* at) {
    Node* const node = at->Own();
    Link right = std::move(node->right);
    Node* const up = right.Own();
    node->right = std::move(up->left);
    Measure(node);
    up->left = std::move(*at);
    Measure(up);
    *at = std::move(right);
  }

  // AVL: the heights of two siblings differ by at most 1; callers change one side of a node that they own by at most 1.
  static void Balance(Link* at) {
    Node* const node = at->Own();
    const std::int32_t lean = LeanOf(*node);
    if (lean > 1) {
      if (LeanOf(*node->left.get()) < 0) RotateLeft(&node->left);
      RotateRight(at);
    } else if (lean < -1) {
      if (LeanOf(*node->right.get()) > 0) RotateRight(&node->right);
      RotateLeft(at);
    } else {
      Measure(node);
    }
  }

  // The key must be absent.
  static void Insert(Link* at, const Key& key, Value value) {
    if (!*at) {
      *at = Link(new Node(key, std::move(value)));
      return;
    }
    Node* const node = at->Own();
    Insert(key < node->entry.first ? &node->left : &node->right, key, std::move(value));
    Balance(at);
  }

  // The key must be there.
  static void Remove(Link* at, const Key& key) {
    const auto order = key <=> (*at)->entry.first;
    if (order == 0) {
      RemoveTop(at);
      return;
    }
    Node* const node = at->Own();
    Remove(order < 0 ? &node->left : &node->right, key);
    Balance(at);
  }
  static void RemoveTop(Link* at) {
    const Node& top = *at->get();
    if (!top.left || !top.right) {
      Link only = top.left ? top.left : top.right;
      *at = std::move(only);
      return;
    }
    Node* const node = at->Own();
    node->entry = TakeFirst(&node->right);
    Balance(at);
  }
  static std::pair<Key, Value> TakeFirst(Link* at) {
    if (!(*at)->left) {
      std::pair<Key, Value> first = (*at)->entry;
      Link right = (*at)->right;
      *at = std::move(right);
      return first;
    }
    Node* const node = at->Own();
    std::pair<Key, Value> first = TakeFirst(&node->left);
    Balance(at);
    return first;
  }

  template <typename AtOrAfter>
  Iterator Bound(AtOrAfter at_or_after) const {
    Iterator iterator;
    for (const Node* node = root_.get(); node != nullptr;) {
      if (at_or_after(node->entry.first)) {
        iterator.Push(node);
        node = node->left.get();
      } else {
        node = node->right.get();
      }
    }
    return iterator;
  }

  Link root_;
};

// Keys alone, with the same promises.
struct Present {
  friend bool operator==(const Present&, const Present&) = default;
};
template <typename Key>
using PersistentSet = PersistentMap<Key, Present>;

}  // namespace entrain::scheduler
