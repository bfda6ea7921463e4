// One attempt's log.txt on its way to the coordinator. The file is the buffer; who falls too far behind loses the oldest lines, counted.
#pragma once

#include <cstdint>
#include <string>

#include "entrain/v1/fleet_service.pb.h"

namespace entrain::agent {

class LogTail {
 public:
  LogTail(std::string path, const v1::AttemptKey& key, std::uint64_t acknowledged_offset);

  // The next lines: the same chunk until ChunkSent; null when there are none, or a chunk waits for its answer. With `ended` a last line
  // without a newline counts too.
  const v1::LogChunk* NextChunk(bool ended);
  void ChunkSent();
  void Rewind();
  void Acknowledge(std::uint64_t offset);

  // Everything in the file is acknowledged.
  bool Delivered() const;
  std::uint64_t acknowledged_offset() const { return acknowledged_offset_; }
  // Lines dropped since the last call.
  std::int64_t TakeDropped();

 private:
  bool FillChunk(bool ended);
  // Moves past what is too old to be sent.
  void SkipBacklog(int fd, std::uint64_t size);

  std::string path_;
  std::uint64_t acknowledged_offset_;
  std::uint64_t sent_offset_;
  std::int64_t dropped_ = 0;        // not yet told to the coordinator
  std::int64_t dropped_taken_ = 0;  // not yet counted by the metrics
  bool chunk_ready_ = false;
  bool in_flight_ = false;
  v1::LogChunk chunk_;
};

}  // namespace entrain::agent
