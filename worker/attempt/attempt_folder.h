// The attempt folder: the only interface between a trainer and the daemon of its machine. It lies on local disk, one a machine of
// the gang (run.json is the same in all, the rest is of that machine's ranks), and outlives every process that uses it. No torch, no gRPC.
//
//   <attempts>/<run>.<attempt>/
//     run.json               the run configuration, byte-identical for every attempt
//     attempt.json           AttemptSpec: where and how this attempt runs
//     events/00000001.jsonl  rank 0's events, one JSON object a line; a line counts only with its newline
//     terminal/rank-0.json   one TerminalRecord a rank, fsynced
//     checkpoints/step-00000100/  written by rank 0, complete once renamed to this name
//     supervisor.json        the supervisor's pid and start time; supervisor-exit.json once the launcher ended
//     log.txt                standard output and error of the gang
//     heartbeat/rank-0       touched by every rank once a second, by a thread of its own: it says that the process runs
//     orted                  on the gang's other machines: what their Open MPI daemon was told
//     reserve                blocks given back on a full disk, so that the records that say so can be written
//
// Folders of format N and N-1 are read; attempt.json carries the number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "domain/fleet.h"
#include "domain/sample.h"

namespace entrain::attempt {

inline constexpr int kFormatVersion = 1;
inline constexpr int kOldestReadableFormat = 1;

// Local bindings of one attempt. Paths are absolute.
struct AttemptSpec {
  domain::AttemptKey key;
  std::string dataset_dir;  // token shards of run.json's dataset
  std::string resume_dir;   // checkpoint folder to start from; empty: none
  std::string init_dir;     // Hugging Face checkpoint folder to start from; empty: none
  std::string collective;   // "single", "mpi" or "nccl"
  std::string device = "cpu";  // where the ranks compute: "cpu", or "cuda" when the slots are GPUs; folders without it mean cpu
  std::string control_socket;  // a short path; rank 0 listens there
  std::int64_t world_size = 1;
  std::int64_t ranks_per_machine = 1;
  std::int64_t threads_per_rank = 1;
  std::vector<std::int32_t> slots;  // of this machine; GPU indices when the slots are GPUs
  bool allow_inexact_resume = false;
  // Of a gang over several machines; empty and 0 on one machine, as in folders without them.
  std::int64_t first_rank = 0;  // of this machine's ranks, one a slot; the head's is 0
  std::string hosts;            // IP:RANKS of every machine, the head's first, separated by commas
  std::string network_interface;  // of this machine: the one with its address among them
  std::string watched;          // IP:PORT, separated by commas: machines whose silence ends this machine's part
};

inline bool SpansMachines(const AttemptSpec& spec) { return !spec.hosts.empty(); }
// A machine of the gang other than its head's.
inline bool IsMember(const AttemptSpec& spec) { return SpansMachines(spec) && spec.first_rank > 0; }
// Ranks of this machine.
inline std::int64_t LocalRanks(const AttemptSpec& spec) {
  return SpansMachines(spec) ? static_cast<std::int64_t>(spec.slots.size()) : spec.world_size;
}

// How one rank ended.
struct TerminalRecord {
  domain::EndCause cause = domain::EndCause::kCrashed;
  std::int64_t step = 0;
  std::string message;
  double loss = 0.0;
  std::int64_t tokens = 0;
};

// A checkpoint that is complete on local disk: `folder` is relative to the attempt folder.
struct CheckpointWritten {
  std::int64_t step = 0;
  std::string folder;
  std::int64_t bytes = 0;
  std::string hash;
  std::int64_t best_step = 0;  // as in domain::Checkpoint
};
// The gang is up: every rank joined the collective and the first step is about to run. `resume_step` is where it starts.
struct GangReady {
  std::int64_t resume_step = 0;
};
using AttemptEvent = std::variant<GangReady, domain::EntropySample, domain::Evaluation, CheckpointWritten>;

// One line of the event stream, without and with its newline on the way in and out. Non-finite numbers are the strings "nan",
// "inf", "-inf"; finite ones round-trip exactly.
std::string EncodeEvent(const AttemptEvent& event);
absl::StatusOr<AttemptEvent> DecodeEvent(std::string_view line);

// What the daemon (or a person, with a plain socket tool) says to rank 0; one JSON object a line.
struct StopCommand {
  domain::StopMode mode = domain::StopMode::kCheckpoint;
  std::string reason;
};
std::string EncodeCommand(const StopCommand& command);
absl::StatusOr<StopCommand> DecodeCommand(std::string_view line);

// The folder's paths and files. A value; creating one touches nothing.
class AttemptFolder {
 public:
  explicit AttemptFolder(std::string root) : root_(std::move(root)) {}
  const std::string& root() const { return root_; }
  std::string Path(std::string_view relative) const;
  std::string TerminalPath(std::int64_t rank) const;
  std::string HeartbeatPath(std::int64_t rank) const;

  // Makes the folders and writes run.json and attempt.json, durably.
  absl::Status Create(const AttemptSpec& spec, std::string_view config_json) const;
  absl::StatusOr<AttemptSpec> ReadSpec() const;
  absl::StatusOr<std::string> ReadConfigJson() const;

  absl::Status WriteTerminalRecord(std::int64_t rank, const TerminalRecord& record) const;
  // Writes a small file of this folder durably, on a full disk with the reserve's blocks.
  absl::Status WriteRecord(const std::string& path, std::string_view text) const;
  // nullopt while the rank has written none.
  absl::StatusOr<std::optional<TerminalRecord>> ReadTerminalRecord(std::int64_t rank) const;

 private:
  std::string root_;
};

// Appends rank 0's events, a new segment every `segment_bytes`. Not thread-safe.
class EventWriter {
 public:
  EventWriter(const AttemptFolder& folder, std::int64_t segment_bytes = 4 << 20);
  ~EventWriter();
  EventWriter(const EventWriter&) = delete;
  EventWriter& operator=(const EventWriter&) = delete;
  // One write(2) a line; RESOURCE_EXHAUSTED when the disk is full.
  absl::Status Append(const AttemptEvent& event);

 private:
  absl::Status OpenNextSegment();

  std::string folder_;
  std::int64_t segment_bytes_;
  std::int64_t segment_ = 0;
  std::int64_t written_ = 0;
  int fd_ = -1;
};

// Reads the stream from a place on; a torn last line waits for its newline. An offset counts (segment << 32 | byte).
class EventReader {
 public:
  struct Entry {
    AttemptEvent event;
    std::uint64_t end_offset = 0;
  };
  explicit EventReader(const AttemptFolder& folder, std::uint64_t start_offset = 0);
  // What was appended since the last call, at most `max_entries`. DATA_LOSS names path and line of a damaged one; the place stays
  // before it.
  absl::StatusOr<std::vector<Entry>> Read(std::size_t max_entries);
  // Deletes segments that lie wholly before `offset` and are not the last.
  absl::Status DeleteThrough(std::uint64_t offset);

 private:
  std::string folder_;
  std::uint64_t offset_;
};

}  // namespace entrain::attempt
