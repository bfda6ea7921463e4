// Runs a kernel's source on the CPU as one thread block: a fiber for every thread, all on the calling thread. Collective instructions
// (ldmatrix, mma.sync, shuffles, barriers) are met by every lane before any goes on, and computed from all lanes' operands.
//
// It is stricter than a GPU where that finds bugs:
//   - an asynchronous copy fills its destination with NaN when it starts and lands only in the wait that demands it, so that a tile read
//     too early, or loaded while somebody still reads it, shows;
//   - the order in which threads run is chosen (forwards, backwards): a missing barrier gives different results;
//   - ldmatrix must find the eight rows of a matrix in different banks;
//   - lanes of a warp that meet in different instructions, and threads that wait for others which have ended, end the run with an error.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/kernels/cuda/block_program.h"

namespace entrain::kernels::cuda {

// Rounded to nearest even, as the GPU's conversions do; and exact the other way.
float ToFloat(Bf16 x);
float ToFloat(Fp16 x);
Bf16 RoundTo(float x, Bf16*);
Fp16 RoundTo(float x, Fp16*);

class EmulatedThread;

enum class ThreadOrder { kForwards, kBackwards };

class BlockEmulator {
 public:
  BlockEmulator(int threads, int shared_bytes, ThreadOrder order);
  ~BlockEmulator();
  BlockEmulator(const BlockEmulator&) = delete;
  BlockEmulator& operator=(const BlockEmulator&) = delete;

  // Runs the program in every thread to its end. Shared memory holds NaN when it starts. Throws std::logic_error as described above.
  void Run(const std::function<void(const EmulatedThread&, unsigned char* shared)>& program);

 private:
  friend class EmulatedThread;
  struct Fiber;
  struct Meeting;
  struct Copy {
    void* to;
    const void* from;
    bool inside;
  };

  static void Enter();
  bool Resume(Fiber* fiber);
  void Yield();
  // Returns when all of `meeting`'s members have called it for the same `action`; the last to come calls it.
  void Meet(Meeting* meeting, int member, void* operands, const void* kind, void (*action)(void** operands, int members));
  void Land(Fiber* fiber, std::size_t groups);

  int threads_;
  ThreadOrder order_;
  std::vector<unsigned char> shared_bytes_;
  unsigned char* shared_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<std::unique_ptr<Meeting>> warps_;
  std::unique_ptr<Meeting> block_;
  Fiber* running_ = nullptr;
  std::uint64_t progress_ = 0;
  std::string failure_;
  const std::function<void(const EmulatedThread&, unsigned char*)>* program_ = nullptr;
  void* scheduler_;  // where a fiber leaves to
};

// The operations of block_program.h.
class EmulatedThread {
 public:
  EmulatedThread(BlockEmulator* block, int index) : block_(block), index_(index) {}

  int index() const { return index_; }
  int lane() const { return index_ % kWarpLanes; }
  int warp() const { return index_ / kWarpLanes; }
  void Sync() const;
  void SyncWarp() const;

  float ShuffleXor(float x, int mask) const { return Shuffle(x, lane() ^ mask); }
  double ShuffleXor(double x, int mask) const;
  float Shuffle(float x, int lane) const;
  float Exp2(float x) const;

  void LoadMatrix4(std::uint32_t (&r)[4], const void* row) const { LoadMatrices(r, row, false); }
  void LoadMatrix4Transposed(std::uint32_t (&r)[4], const void* row) const { LoadMatrices(r, row, true); }

  template <typename Element>
  void Mma(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) const {
    MultiplyFragments(c, a, b0, b1, [](std::uint32_t bits) {
      return ToFloat(Element{static_cast<std::uint16_t>(bits)});
    });
  }
  template <typename Element>
  std::uint32_t Pack(float low, float high) const {
    Element* const type = nullptr;
    return RoundTo(low, type).bits | static_cast<std::uint32_t>(RoundTo(high, type).bits) << 16;
  }
  template <typename Element>
  Float2 Unpack(std::uint32_t packed) const {
    return Float2{ToFloat(Element{static_cast<std::uint16_t>(packed)}), ToFloat(Element{static_cast<std::uint16_t>(packed >> 16)})};
  }

  void CopyAsync16(void* to, const void* from, bool inside) const;
  void CommitCopies() const;
  template <int kNewest>
  void WaitCopies() const {
    WaitForAllBut(kNewest);
  }

  void AtomicAdd(float* place, float x) const { *place += x; }
  void AtomicMaxNonNegative(float* place, float x) const;

 private:
  void LoadMatrices(std::uint32_t (&r)[4], const void* row, bool transposed) const;
  void MultiplyFragments(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                         float (*to_float)(std::uint32_t)) const;
  void WaitForAllBut(std::size_t newest) const;

  BlockEmulator* block_;
  int index_;
};

}  // namespace entrain::kernels::cuda
