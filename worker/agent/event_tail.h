// One attempt's event stream, read twice: once as it grows, for this machine (metrics, checkpoints, progress), and once from the last
// acknowledged place, for the coordinator. The files are the buffer between the two, so nothing is lost or kept in memory while the
// coordinator is away.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "entrain/v1/fleet_service.pb.h"
#include "worker/agent/attempt_journal.h"
#include "worker/attempt/attempt_folder.h"
#include "worker/launcher/launcher.h"

namespace entrain::agent {

class EventTail {
 public:
  EventTail(const attempt::AttemptFolder& folder, const v1::Launch& launch, const Delivery& delivered);

  // What was appended since the last call. DATA_LOSS when the stream is damaged there; it then has no more.
  absl::StatusOr<std::vector<attempt::EventReader::Entry>> ReadNew();
  // Up to the last ReadNew.
  const launcher::Progress& progress() const { return progress_; }

  // The next batch for the coordinator: the same one until BatchSent; null when there is none, or too many wait for their answer.
  const v1::SampleBatch* NextBatch();
  void BatchSent();
  // A new connection: everything that is not acknowledged goes again.
  void Rewind();
  // Returns the number of samples that this acknowledges.
  std::int64_t Acknowledge(std::uint64_t offset);

  // Every sample and evaluation that ReadNew saw is acknowledged.
  bool Delivered() const { return acknowledged_.event_offset >= last_data_offset_; }
  // For the journal; its log_offset is not set.
  const Delivery& acknowledged() const { return acknowledged_; }

 private:
  struct InFlight {
    std::uint64_t end_offset = 0;
    std::int64_t samples = 0;
    launcher::Progress progress;
  };
  bool FillBatch();

  attempt::AttemptFolder folder_;
  attempt::EventReader reader_;
  attempt::EventReader sender_;
  launcher::Progress progress_;       // of the reader
  launcher::Progress sent_progress_;  // of the sender
  std::uint64_t read_offset_ = 0;
  std::uint64_t last_data_offset_ = 0;
  Delivery acknowledged_;
  std::deque<InFlight> in_flight_;
  v1::SampleBatch batch_;
  bool batch_ready_ = false;
  std::size_t entries_per_batch_ = 1;
};

}  // namespace entrain::agent
