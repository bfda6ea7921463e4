#include "worker/agent/event_tail.h"

#include <algorithm>

#include "proto/convert.h"

namespace entrain::agent {
namespace {

using attempt::EventReader;

constexpr std::size_t kEntriesPerRead = 256;
constexpr std::size_t kBatchesInFlight = 8;
// Heads times samples of one batch, so that a message stays below 1 MB.
constexpr std::size_t kBatchValues = 64 << 10;

void Advance(const attempt::AttemptEvent& event, launcher::Progress* progress) {
  if (const auto* ready = std::get_if<attempt::GangReady>(&event)) {
    progress->ready = true;
    progress->last_step = std::max(progress->last_step, ready->resume_step);
  } else if (const auto* sample = std::get_if<domain::EntropySample>(&event)) {
    progress->last_step = std::max(progress->last_step, sample->step);
  }
}

bool IsData(const attempt::AttemptEvent& event) {
  return std::holds_alternative<domain::EntropySample>(event) || std::holds_alternative<domain::Evaluation>(event);
}

}  // namespace

EventTail::EventTail(const attempt::AttemptFolder& folder, const v1::Launch& launch, const Delivery& delivered)
    : folder_(folder), reader_(folder, delivered.event_offset), sender_(folder, delivered.event_offset),
      progress_{delivered.ready, delivered.last_step}, sent_progress_(progress_), read_offset_(delivered.event_offset),
      last_data_offset_(delivered.event_offset), acknowledged_(delivered) {
  *batch_.mutable_key() = launch.key();
  batch_.set_n_head(launch.n_head());
  batch_.set_context(launch.context());
  const std::size_t heads = static_cast<std::size_t>(std::max(1, launch.n_layer()) * std::max(1, launch.n_head()));
  entries_per_batch_ = std::clamp(kBatchValues / heads, std::size_t{1}, kEntriesPerRead);
}

absl::StatusOr<std::vector<EventReader::Entry>> EventTail::ReadNew() {
  absl::StatusOr<std::vector<EventReader::Entry>> entries = reader_.Read(kEntriesPerRead);
  if (!entries.ok()) return entries;
  for (const EventReader::Entry& entry : *entries) {
    Advance(entry.event, &progress_);
    read_offset_ = entry.end_offset;
    if (IsData(entry.event)) last_data_offset_ = entry.end_offset;
  }
  return entries;
}

bool EventTail::FillBatch() {
  batch_.clear_samples();
  batch_.clear_evaluations();
  const absl::StatusOr<std::vector<EventReader::Entry>> entries = sender_.Read(entries_per_batch_);
  // Damage is the reader's to report; what lies before it was sent.
  if (!entries.ok()) return false;
  for (const EventReader::Entry& entry : *entries) {
    Advance(entry.event, &sent_progress_);
    if (const auto* sample = std::get_if<domain::EntropySample>(&entry.event)) *batch_.add_samples() = wire::ToWire(*sample);
    if (const auto* evaluation = std::get_if<domain::Evaluation>(&entry.event)) *batch_.add_evaluations() = wire::ToWire(*evaluation);
    batch_.set_last_offset(entry.end_offset);
  }
  return batch_.samples_size() + batch_.evaluations_size() > 0;
}

const v1::SampleBatch* EventTail::NextBatch() {
  if (!batch_ready_ && in_flight_.size() < kBatchesInFlight) batch_ready_ = FillBatch();
  return batch_ready_ ? &batch_ : nullptr;
}

void EventTail::BatchSent() {
  in_flight_.push_back({batch_.last_offset(), batch_.samples_size(), sent_progress_});
  batch_ready_ = false;
}

void EventTail::Rewind() {
  sender_ = EventReader(folder_, acknowledged_.event_offset);
  sent_progress_ = {acknowledged_.ready, acknowledged_.last_step};
  in_flight_.clear();
  batch_ready_ = false;
}

std::int64_t EventTail::Acknowledge(std::uint64_t offset) {
  std::int64_t samples = 0;
  while (!in_flight_.empty() && in_flight_.front().end_offset <= offset) {
    const InFlight& batch = in_flight_.front();
    samples += batch.samples;
    acknowledged_.event_offset = std::max(acknowledged_.event_offset, batch.end_offset);
    acknowledged_.ready = batch.progress.ready;
    acknowledged_.last_step = batch.progress.last_step;
    in_flight_.pop_front();
  }
  // A segment goes once both readers passed it; one that cannot be deleted now is deleted later or with the folder.
  reader_.DeleteThrough(std::min(acknowledged_.event_offset, read_offset_)).IgnoreError();
  return samples;
}

}  // namespace entrain::agent
