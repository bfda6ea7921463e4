// NCCL's C interface over TCP. What it keeps of NCCL's documented contract (docs/ASSUMPTIONS.md):
// - With blocking = 0 every call may return ncclInProgress; only when ncclCommGetAsyncError has left that state is the work on its stream.
// - Joining waits for all ranks, for ever if one never comes; it is over on all ranks together.
// - Operations run in the order of their stream, and every rank calls them in the same order.
// - A lost peer is an asynchronous error of the ranks that were talking to it, and nothing to the others; the operation on the stream does
//   not return until the communicator is aborted.
// - ncclCommAbort ends what is under way and frees the communicator.
// Every rank talks to rank 0, which combines in rank order. ENTRAIN_HOST_NCCL_FAULT=KIND:RANK:OPERATION makes one rank fail at its
// OPERATION-th call (from 0): `drop` closes its connections, `error` is an error of its own, `hang` does nothing for ever; `absent:RANK`
// never joins.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "nccl.h"

namespace {

constexpr auto kConnectPause = std::chrono::milliseconds(5);

// What the 128 bytes of an id hold.
struct Address {
  std::uint64_t nonce;
  std::uint16_t port;  // on the loopback interface
  int listener;        // of the process that made the id
};

struct Greeting {
  std::uint64_t nonce;
  int rank;
};

// Every rank announces its call; rank 0 refuses calls that differ.
struct Call {
  std::uint64_t sequence;
  std::uint64_t bytes;
  int kind;  // ncclRedOp_t, or kBroadcast
  int root;
  bool operator==(const Call&) const = default;
};
constexpr int kBroadcast = -1;

struct Fault {
  std::string kind;
  std::uint64_t operation = 0;
};

Fault FaultOf(int rank) {
  const char* text = std::getenv("ENTRAIN_HOST_NCCL_FAULT");
  if (text == nullptr) return {};
  const std::string fault = text;
  const std::size_t first = fault.find(':'), second = fault.find(':', first + 1);
  if (std::stoi(fault.substr(first + 1)) != rank) return {};
  return {fault.substr(0, first), second == std::string::npos ? 0 : std::stoull(fault.substr(second + 1))};
}

bool SendAll(int socket, const void* data, std::size_t bytes) {
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t sent = ::send(socket, at, bytes, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    at += sent;
    bytes -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool ReceiveAll(int socket, void* data, std::size_t bytes) {
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t received = ::recv(socket, at, bytes, 0);
    if (received <= 0) return false;
    at += received;
    bytes -= static_cast<std::size_t>(received);
  }
  return true;
}

void Combine(int kind, float* into, const float* other, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) into[i] = kind == ncclMax ? std::fmax(into[i], other[i]) : into[i] + other[i];
}

}  // namespace

// Shared by the communicator's handle, its joining thread and the operations on streams, whichever lives longest.
struct State {
  State(int my_rank, int all_ranks) : rank(my_rank), ranks(all_ranks), fault(FaultOf(my_rank)) {}

  void Fail(ncclResult_t code, const std::string& what) {
    const std::lock_guard lock(mutex);
    if (error == ncclSuccess) {
      error = code;
      message = what;
    }
  }
  void Close() {
    const std::lock_guard lock(mutex);
    for (const int socket : sockets) {
      if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
    }
    if (listener >= 0) ::shutdown(listener, SHUT_RDWR);
  }
  void Abort() {
    aborted = true;
    Close();
    const std::lock_guard lock(mutex);
    changed.notify_all();
  }
  // What a kernel does whose peer does not answer.
  void HangUntilAborted() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return aborted.load(); });
  }

  const int rank, ranks;
  const Fault fault;
  std::mutex mutex;
  std::condition_variable changed;
  ncclResult_t error = ncclSuccess;
  std::string message;
  int in_progress = 0;  // calls that are not on their stream yet
  std::vector<int> sockets;  // rank 0: of every rank; others: of rank 0
  int listener = -1;
  std::uint64_t operations = 0;  // touched by the stream's thread alone
  std::atomic<bool> aborted{false};
};

struct ncclComm {
  std::shared_ptr<State> state;
  std::thread joining;
  std::thread enqueuing;
};

namespace {

bool KeepSocket(State& state, std::size_t place, int socket) {
  const std::lock_guard lock(state.mutex);
  if (state.aborted) return false;
  state.sockets[place] = socket;
  return true;
}

// Rank 0: until everybody has come; then all go on together.
bool Gather(State& state, const Address& address) {
  for (int missing = state.ranks - 1; missing > 0;) {
    const int socket = ::accept(address.listener, nullptr, nullptr);
    if (socket < 0) return false;
    Greeting greeting{};
    if (!ReceiveAll(socket, &greeting, sizeof greeting) || greeting.nonce != address.nonce) {
      ::close(socket);
      continue;
    }
    if (!KeepSocket(state, static_cast<std::size_t>(greeting.rank), socket)) return false;
    --missing;
  }
  return std::all_of(state.sockets.begin() + 1, state.sockets.end(), [](int socket) { return SendAll(socket, "g", 1); });
}

bool GoToRankZero(State& state, const Address& address) {
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_port = address.port;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  while (!state.aborted) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(socket, reinterpret_cast<const sockaddr*>(&place), sizeof place) == 0) {
      if (!KeepSocket(state, 0, socket)) return false;
      const Greeting greeting{address.nonce, state.rank};
      char go = 0;
      return SendAll(socket, &greeting, sizeof greeting) && ReceiveAll(socket, &go, 1);
    }
    ::close(socket);
    std::this_thread::sleep_for(kConnectPause);
  }
  return false;
}

void Join(State& state, const Address& address) {
  if (state.fault.kind == "absent") return state.HangUntilAborted();
  if (state.rank == 0) {
    const std::lock_guard lock(state.mutex);
    state.listener = address.listener;
  }
  const bool joined = state.rank == 0 ? Gather(state, address) : GoToRankZero(state, address);
  if (!joined) state.Fail(ncclRemoteError, "a rank was lost while joining");
  const std::lock_guard lock(state.mutex);
  --state.in_progress;
}

bool RunAtRankZero(State& state, const Call& call, char* data) {
  std::vector<char> other(call.bytes);
  for (int rank = 1; rank < state.ranks; ++rank) {
    Call theirs{};
    const int socket = state.sockets[static_cast<std::size_t>(rank)];
    if (!ReceiveAll(socket, &theirs, sizeof theirs)) return false;
    if (theirs != call) {
      state.Fail(ncclInvalidUsage, "ranks call different operations");
      return false;
    }
    if (call.kind == kBroadcast && rank != call.root) continue;
    if (!ReceiveAll(socket, other.data(), call.bytes)) return false;
    if (call.kind == kBroadcast) {
      std::memcpy(data, other.data(), call.bytes);
    } else {
      Combine(call.kind, reinterpret_cast<float*>(data), reinterpret_cast<const float*>(other.data()), call.bytes / sizeof(float));
    }
  }
  return std::all_of(state.sockets.begin() + 1, state.sockets.end(), [&](int socket) { return SendAll(socket, data, call.bytes); });
}

bool RunElsewhere(State& state, const Call& call, char* data) {
  const int socket = state.sockets[0];
  const bool sends = call.kind != kBroadcast || state.rank == call.root;
  return SendAll(socket, &call, sizeof call) && (!sends || SendAll(socket, data, call.bytes)) && ReceiveAll(socket, data, call.bytes);
}

// On the stream's thread.
void RunOperation(State& state, Call call, char* data) {
  call.sequence = state.operations++;
  if (state.aborted) return;
  if (!state.fault.kind.empty() && state.fault.operation == call.sequence) {
    if (state.fault.kind == "drop") state.Close();
    if (state.fault.kind == "error") state.Fail(ncclInternalError, "planted error");
    return state.HangUntilAborted();
  }
  if (state.rank == 0 ? RunAtRankZero(state, call, data) : RunElsewhere(state, call, data)) return;
  state.Fail(ncclRemoteError, "a connection to a rank was lost");
  state.HangUntilAborted();
}

void RunAndDelete(void* function) {
  const std::unique_ptr<std::function<void()>> owned(static_cast<std::function<void()>*>(function));
  (*owned)();
}

// The call returns at once; another thread puts the operation on the stream a little later.
ncclResult_t Enqueue(ncclComm_t comm, const Call& call, const void* from, void* to, cudaStream_t stream) {
  const std::shared_ptr<State> state = comm->state;
  {
    const std::lock_guard lock(state->mutex);
    if (state->error != ncclSuccess) return state->error;
    if (state->in_progress > 0) return ncclInvalidUsage;
    ++state->in_progress;
  }
  if (from != to) std::memcpy(to, from, call.bytes);
  if (comm->enqueuing.joinable()) comm->enqueuing.join();
  comm->enqueuing = std::thread([state, call, to, stream] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    auto* operation = new std::function<void()>([state, call, to] { RunOperation(*state, call, static_cast<char*>(to)); });
    cudaLaunchHostFunc(stream, RunAndDelete, operation);
    const std::lock_guard lock(state->mutex);
    --state->in_progress;
  });
  return ncclInProgress;
}

void Free(ncclComm_t comm) {
  comm->state->Abort();
  if (comm->joining.joinable()) comm->joining.join();
  if (comm->enqueuing.joinable()) comm->enqueuing.join();
  delete comm;
}

}  // namespace

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInternalError: return "internal error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
  }
  return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t comm) {
  thread_local std::string message;
  const std::lock_guard lock(comm->state->mutex);
  message = comm->state->message;
  return message.c_str();
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  Address address{};
  address.nonce = std::random_device()() * std::uint64_t{0x100000001} + 1;
  address.listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in place{};
  place.sin_family = AF_INET;
  place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof place;
  if (address.listener < 0 || ::bind(address.listener, reinterpret_cast<const sockaddr*>(&place), size) != 0 ||
      ::listen(address.listener, 64) != 0 || ::getsockname(address.listener, reinterpret_cast<sockaddr*>(&place), &size) != 0) {
    return ncclSystemError;
  }
  address.port = place.sin_port;
  std::memset(id->internal, 0, sizeof id->internal);
  std::memcpy(id->internal, &address, sizeof address);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 0) return ncclInvalidArgument;  // not needed by what this library is for
  Address address{};
  std::memcpy(&address, id.internal, sizeof address);
  auto state = std::make_shared<State>(rank, ranks);
  state->sockets.assign(rank == 0 ? static_cast<std::size_t>(ranks) : 1, -1);
  state->in_progress = 1;
  *comm = new ncclComm{state, std::thread([state, address] { Join(*state, address); }), {}};
  return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* async_error) {
  const std::lock_guard lock(comm->state->mutex);
  *async_error = comm->state->error != ncclSuccess ? comm->state->error : comm->state->in_progress > 0 ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void* from, void* to, std::size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t comm,
                           cudaStream_t stream) {
  if (type != ncclFloat) return ncclInvalidArgument;
  return Enqueue(comm, {0, count * sizeof(float), operation, 0}, from, to, stream);
}

ncclResult_t ncclBroadcast(const void* from, void* to, std::size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t stream) {
  return Enqueue(comm, {0, count * (type == ncclFloat ? sizeof(float) : 1), kBroadcast, root}, from, to, stream);
}

ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  Free(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  Free(comm);
  return ncclSuccess;
}
