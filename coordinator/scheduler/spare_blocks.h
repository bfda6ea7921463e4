// Memory for the nodes of persistent maps: a decision makes hundreds of small ones and lets go of as many, and walks over those that lie cold
// in memory. Blocks of one size lie side by side in slabs, so that a node does not straddle the cache's lines and few pages hold them all.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <new>

namespace entrain::scheduler {

// Blocks of one size, for types of ordinary alignment. Each thread keeps a bounded number that it let go of and gives them out again; the
// rest lies in a depot that all threads share. Slabs grow with what is used, and are kept until the process ends. Blocks may be let go
// of by another thread than the one that took them.
template <std::size_t kBytes>
class SpareBlocks {
 public:
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  // The sanitizers watch the allocator's blocks.
  static void* Take() { return ::operator new(kBytes); }
  static void Give(void* freed) { ::operator delete(freed); }
#else
  static void* Take() {
    Spare& spare = spare_;
    if (spare.first == nullptr) Refill(&spare);
    Block* const block = spare.first;
    spare.first = block->next;
    --spare.count;
    return block;
  }
  static void Give(void* freed) {
    Spare& spare = spare_;
    GiveBackAtEnd();
    spare.first = new (freed) Block{spare.first};
    ++spare.count;
    if (spare.count > kMaxSpare || spare.closed) Return(&spare, spare.closed ? spare.count : kMaxSpare / 2);
  }

 private:
  struct Block {
    Block* next;
  };
  // Lives as long as the thread, also after its other thread-local objects are gone: it has no destructor.
  struct Spare {
    Block* first = nullptr;
    std::size_t count = 0;
    bool closed = false;
  };
  struct Closer {
    Closer() {}
    ~Closer() {
      spare_.closed = true;
      Return(&spare_, spare_.count);
    }
  };
  // Never destroyed: blocks may be let go of while the process ends.
  struct Depot {
    std::mutex mutex;
    Block* first = nullptr;
    std::byte* slab = nullptr;  // what is not given out of the newest one
    std::byte* slab_end = nullptr;
    std::size_t slab_bytes = kFirstSlab;
  };

  static Depot& TheDepot() {
    static Depot* const depot = new Depot();
    return *depot;
  }
  // The thread's blocks, when it ends.
  static void GiveBackAtEnd() {
    static thread_local const Closer closer;
    static_cast<void>(closer);
  }
  static void Refill(Spare* spare) {
    GiveBackAtEnd();
    Depot& depot = TheDepot();
    std::lock_guard<std::mutex> lock(depot.mutex);
    for (std::size_t i = 0; i < kBatch; ++i) {
      Block* block = depot.first;
      if (block != nullptr) {
        depot.first = block->next;
      } else {
        block = new (Carve(&depot)) Block;
      }
      block->next = spare->first;
      spare->first = block;
      ++spare->count;
    }
  }
  static void Return(Spare* spare, std::size_t count) {
    Depot& depot = TheDepot();
    std::lock_guard<std::mutex> lock(depot.mutex);
    for (; count > 0; --count) {
      Block* const block = spare->first;
      spare->first = block->next;
      --spare->count;
      block->next = depot.first;
      depot.first = block;
    }
  }
  static void* Carve(Depot* depot) {
    if (depot->slab_end - depot->slab < static_cast<std::ptrdiff_t>(kSize)) {
      const std::size_t bytes = depot->slab_bytes;
      depot->slab = static_cast<std::byte*>(::operator new(bytes, std::align_val_t(std::min(bytes, kHugePage))));
      depot->slab_end = depot->slab + bytes;
      // Few entries of the processor's page table then cover them; where the kernel has no such pages nothing changes.
      if (bytes >= kHugePage) madvise(depot->slab, bytes, MADV_HUGEPAGE);
      depot->slab_bytes = std::min(2 * bytes, kHugePage);
    }
    void* const block = depot->slab;
    depot->slab += kSize;
    return block;
  }

  static constexpr std::size_t kSize = (std::max(kBytes, sizeof(Block)) + 15) / 16 * 16;
  static constexpr std::size_t kMaxSpare = 4096;
  static constexpr std::size_t kBatch = 64;
  static constexpr std::size_t kHugePage = std::size_t{2} << 20U;
  static constexpr std::size_t kFirstSlab = std::size_t{64} << 10U;
  static_assert(kSize * 4 <= kFirstSlab);
  static constinit inline thread_local Spare spare_;
#endif
};

}  // namespace entrain::scheduler
