#include "tests/model/cuda/block_emulator.h"

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <stdexcept>

namespace entrain::kernels::cuda {
namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kSharedAlignment = 1024;
constexpr unsigned char kNanByte = 0xff;

BlockEmulator* current_block = nullptr;

// The exits of a fiber and of the scheduler: saving and restoring registers alone, no system call.
__attribute__((noinline)) void Swap(jmp_buf from, jmp_buf to) {
  if (_setjmp(from) == 0) _longjmp(to, 1);
}

__attribute__((noinline)) void SwapToNew(jmp_buf from, ucontext_t* to) {
  if (_setjmp(from) == 0) setcontext(to);
}

struct Exchange {
  std::uint32_t in[6];
  float* c;
  const void* row;
  std::uint32_t* out;
  float (*to_float)(std::uint32_t);
  std::string* failure;
};

const Exchange& At(void** operands, int lane) { return *static_cast<Exchange*>(operands[lane]); }

void Nothing(void** /*operands*/, int /*members*/) {}

struct FloatShuffle {
  double value;
  int from;
  double result;
};

void ShuffleAll(void** operands, int members) {
  for (int lane = 0; lane < members; ++lane) {
    auto* own = static_cast<FloatShuffle*>(operands[lane]);
    own->result = static_cast<FloatShuffle*>(operands[own->from])->value;
  }
}

// Lane 8 m + r gives the address of row r of matrix m; afterwards lane l holds, of matrix m, elements 2 (l % 4) and the next of row l / 4;
// transposed: rows 2 (l % 4) and the next of column l / 4.
template <bool kTransposed>
void LoadAll(void** operands, int members) {
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned int banks = 0;
    for (int row = 0; row < 8; ++row) {
      banks |= 1u << (reinterpret_cast<std::uintptr_t>(At(operands, 8 * matrix + row).row) / 16 % 8);
    }
    if (banks != 0xff) *At(operands, 0).failure = "the eight rows of a matrix share banks";
  }
  for (int lane = 0; lane < members; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      std::uint16_t pair[2];
      for (int i = 0; i < 2; ++i) {
        const int row = kTransposed ? 2 * (lane % 4) + i : lane / 4;
        const int column = kTransposed ? lane / 4 : 2 * (lane % 4) + i;
        pair[i] = static_cast<const std::uint16_t*>(At(operands, 8 * matrix + row).row)[column];
      }
      At(operands, lane).out[matrix] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
    }
  }
}

// mma.m16n8k16 by the fragment tables of the PTX manual.
void MultiplyAll(void** operands, int members) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < members; ++lane) {
    const Exchange& own = At(operands, lane);
    const int group = lane / 4, pair = 2 * (lane % 4);
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t bits = own.in[i / 2] >> (16 * (i % 2)) & 0xffff;
      const int row = (i / 2) % 2 == 0 ? group : group + 8;
      const int column = pair + i % 2 + (i < 4 ? 0 : 8);
      a[row][column] = own.to_float(bits);
    }
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t bits = own.in[4 + i / 2] >> (16 * (i % 2)) & 0xffff;
      b[pair + i % 2 + (i < 2 ? 0 : 8)][group] = own.to_float(bits);
    }
  }
  for (int lane = 0; lane < members; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + (i < 2 ? 0 : 8), column = 2 * (lane % 4) + i % 2;
      float sum = At(operands, lane).c[i];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      At(operands, lane).c[i] = sum;
    }
  }
}

const char kSyncKind = 0, kSyncWarpKind = 0, kShuffleKind = 0, kLoadKind = 0, kLoadTransposedKind = 0, kMmaKind = 0;

}  // namespace

float ToFloat(Bf16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }
float ToFloat(Fp16 x) { return static_cast<float>(std::bit_cast<_Float16>(x.bits)); }

Bf16 RoundTo(float x, Bf16*) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return Bf16{0x7fff};
  return Bf16{static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

Fp16 RoundTo(float x, Fp16*) { return Fp16{std::bit_cast<std::uint16_t>(static_cast<_Float16>(x))}; }

struct BlockEmulator::Fiber {
  explicit Fiber(int thread_index) : index(thread_index), stack(new unsigned char[kStackBytes]) {}

  int index;
  std::unique_ptr<unsigned char[]> stack;
  ucontext_t start{};
  jmp_buf place{};
  bool started = false, ended = false;
  std::vector<Copy> open_group;
  std::deque<std::vector<Copy>> groups;
};

struct BlockEmulator::Meeting {
  explicit Meeting(int count) : members(count), operands(static_cast<std::size_t>(count)) {}

  int members;
  std::vector<void*> operands;
  int arrived = 0;
  std::uint64_t number = 0;
  const void* kind = nullptr;
};

BlockEmulator::BlockEmulator(int threads, int shared_bytes, ThreadOrder order)
    : threads_(threads), order_(order), shared_bytes_(static_cast<std::size_t>(shared_bytes) + kSharedAlignment) {
  void* start = shared_bytes_.data();
  std::size_t space = shared_bytes_.size();
  shared_ = static_cast<unsigned char*>(std::align(kSharedAlignment, static_cast<std::size_t>(shared_bytes), start, space));
  for (int i = 0; i < threads; ++i) fibers_.push_back(std::make_unique<Fiber>(i));
  for (int i = 0; i < threads; i += kWarpLanes) warps_.push_back(std::make_unique<Meeting>(kWarpLanes));
  block_ = std::make_unique<Meeting>(threads);
  scheduler_ = new jmp_buf[1];
}

BlockEmulator::~BlockEmulator() { delete[] static_cast<jmp_buf*>(scheduler_); }

void BlockEmulator::Enter() {
  BlockEmulator* block = current_block;
  Fiber* fiber = block->running_;
  (*block->program_)(EmulatedThread(block, fiber->index), block->shared_);
  fiber->ended = true;
  ++block->progress_;
  _longjmp(*static_cast<jmp_buf*>(block->scheduler_), 1);
}

// Whether the fiber is still alive.
bool BlockEmulator::Resume(Fiber* fiber) {
  if (fiber->ended) return false;
  running_ = fiber;
  jmp_buf& home = *static_cast<jmp_buf*>(scheduler_);
  if (fiber->started) {
    Swap(home, fiber->place);
  } else {
    fiber->started = true;
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = fiber->stack.get();
    fiber->start.uc_stack.ss_size = kStackBytes;
    makecontext(&fiber->start, &BlockEmulator::Enter, 0);
    SwapToNew(home, &fiber->start);
  }
  return !fiber->ended;
}

void BlockEmulator::Yield() { Swap(running_->place, *static_cast<jmp_buf*>(scheduler_)); }

void BlockEmulator::Run(const std::function<void(const EmulatedThread&, unsigned char*)>& program) {
  std::fill(shared_bytes_.begin(), shared_bytes_.end(), kNanByte);
  for (const auto& fiber : fibers_) {
    fiber->started = fiber->ended = false;
    fiber->open_group.clear();
    fiber->groups.clear();
  }
  program_ = &program;
  current_block = this;
  failure_.clear();
  for (bool alive = true; alive;) {
    alive = false;
    const std::uint64_t before = progress_;
    for (int i = 0; i < threads_ && failure_.empty(); ++i) {
      const int index = order_ == ThreadOrder::kForwards ? i : threads_ - 1 - i;
      alive = Resume(fibers_[static_cast<std::size_t>(index)].get()) || alive;
    }
    if (!failure_.empty()) throw std::logic_error(failure_);
    if (alive && progress_ == before) throw std::logic_error("threads wait for each other for ever");
  }
}

void BlockEmulator::Meet(Meeting* meeting, int member, void* operands, const void* kind, void (*action)(void**, int)) {
  if (meeting->arrived == 0) {
    meeting->kind = kind;
  } else if (meeting->kind != kind) {
    failure_ = "lanes meet in different instructions";
  }
  meeting->operands[static_cast<std::size_t>(member)] = operands;
  ++progress_;
  const std::uint64_t number = meeting->number;
  if (++meeting->arrived == meeting->members) {
    action(meeting->operands.data(), meeting->members);
    meeting->arrived = 0;
    ++meeting->number;
    return;
  }
  while (meeting->number == number) Yield();
}

void BlockEmulator::Land(Fiber* fiber, std::size_t groups) {
  for (; groups > 0; --groups) {
    for (const Copy& copy : fiber->groups.front()) {
      if (copy.inside) {
        std::memcpy(copy.to, copy.from, 16);
      } else {
        std::memset(copy.to, 0, 16);
      }
    }
    fiber->groups.pop_front();
  }
}

void EmulatedThread::Sync() const { block_->Meet(block_->block_.get(), index_, nullptr, &kSyncKind, Nothing); }

void EmulatedThread::SyncWarp() const {
  block_->Meet(block_->warps_[static_cast<std::size_t>(warp())].get(), lane(), nullptr, &kSyncWarpKind, Nothing);
}

double EmulatedThread::ShuffleXor(double x, int mask) const {
  FloatShuffle shuffle{x, lane() ^ mask, 0.0};
  block_->Meet(block_->warps_[static_cast<std::size_t>(warp())].get(), lane(), &shuffle, &kShuffleKind, ShuffleAll);
  return shuffle.result;
}

float EmulatedThread::Shuffle(float x, int from) const {
  FloatShuffle shuffle{x, from, 0.0};
  block_->Meet(block_->warps_[static_cast<std::size_t>(warp())].get(), lane(), &shuffle, &kShuffleKind, ShuffleAll);
  return static_cast<float>(shuffle.result);
}

// Subnormal results are flushed, as ex2.approx.ftz does.
float EmulatedThread::Exp2(float x) const {
  const float y = std::exp2(x);
  return y < 0x1p-126f ? 0.0f : y;
}

void EmulatedThread::LoadMatrices(std::uint32_t (&r)[4], const void* row, bool transposed) const {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0) block_->failure_ = "ldmatrix from a row that is not aligned to 16 bytes";
  Exchange exchange{};
  exchange.row = row;
  exchange.out = r;
  exchange.failure = &block_->failure_;
  block_->Meet(block_->warps_[static_cast<std::size_t>(warp())].get(), lane(), &exchange,
               transposed ? &kLoadTransposedKind : &kLoadKind, transposed ? LoadAll<true> : LoadAll<false>);
}

void EmulatedThread::MultiplyFragments(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1,
                                       float (*to_float)(std::uint32_t)) const {
  Exchange exchange{{a[0], a[1], a[2], a[3], b0, b1}, c, nullptr, nullptr, to_float, nullptr};
  block_->Meet(block_->warps_[static_cast<std::size_t>(warp())].get(), lane(), &exchange, &kMmaKind, MultiplyAll);
}

void EmulatedThread::CopyAsync16(void* to, const void* from, bool inside) const {
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 != 0) {
    block_->failure_ = "an asynchronous copy that is not aligned to 16 bytes";
  }
  std::memset(to, kNanByte, 16);
  block_->fibers_[static_cast<std::size_t>(index_)]->open_group.push_back({to, from, inside});
}

void EmulatedThread::CommitCopies() const {
  BlockEmulator::Fiber& fiber = *block_->fibers_[static_cast<std::size_t>(index_)];
  fiber.groups.push_back(std::move(fiber.open_group));
  fiber.open_group.clear();
}

void EmulatedThread::WaitForAllBut(std::size_t newest) const {
  BlockEmulator::Fiber& fiber = *block_->fibers_[static_cast<std::size_t>(index_)];
  if (fiber.groups.size() > newest) block_->Land(&fiber, fiber.groups.size() - newest);
}

void EmulatedThread::AtomicMaxNonNegative(float* place, float x) const {
  *place = std::bit_cast<float>(std::max(std::bit_cast<std::uint32_t>(*place), std::bit_cast<std::uint32_t>(x)));
}

}  // namespace entrain::kernels::cuda
