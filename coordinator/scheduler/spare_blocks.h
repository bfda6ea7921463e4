// Memory for the nodes of persistent maps: a decision makes hundreds of small ones and lets go of as many.
#pragma once

#include <cstddef>
#include <new>

namespace entrain::scheduler {

// Blocks of one size, for types of ordinary alignment. Each thread keeps a bounded number that it let go of and gives them out again; the
// rest is the allocator's. Blocks may be let go of by another thread than the one that took them.
template <std::size_t kBytes>
class SpareBlocks {
 public:
  static void* Take() {
    Spare& spare = spare_;
    if (spare.first == nullptr) return ::operator new(kSize);
    Block* const block = spare.first;
    spare.first = block->next;
    --spare.count;
    return block;
  }
  static void Give(void* freed) {
    Spare& spare = spare_;
    if (spare.count >= kMaxSpare || spare.closed) {
      ::operator delete(freed);
      return;
    }
    // At its end the thread gives back what it kept.
    static thread_local const Closer closer;
    static_cast<void>(closer);
    spare.first = new (freed) Block{spare.first};
    ++spare.count;
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
      while (spare_.first != nullptr) {
        Block* const block = spare_.first;
        spare_.first = block->next;
        ::operator delete(block);
      }
    }
  };
  static constexpr std::size_t kSize = kBytes < sizeof(Block) ? sizeof(Block) : kBytes;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr std::size_t kMaxSpare = 0;  // the sanitizers watch the allocator's blocks
#else
  static constexpr std::size_t kMaxSpare = 4096;
#endif
  static constinit inline thread_local Spare spare_;
};

}  // namespace entrain::scheduler
