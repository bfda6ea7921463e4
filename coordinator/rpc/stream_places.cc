#include "coordinator/rpc/stream_places.h"

#include "base/strings.h"

namespace entrain::rpc {

StreamPlaces::Place::~Place() { places_->GiveBack(this); }

absl::StatusOr<std::unique_ptr<StreamPlaces::Place>> StreamPlaces::Take(const std::string& client, bool limited,
                                                                        std::function<void()> cancel) {
  const std::lock_guard<std::mutex> lock(mutex_);
  int& held = held_[client];
  if (limited && per_client_ > 0 && held >= per_client_) {
    return absl::ResourceExhaustedError(StrCat("streams_per_client: this client has ", held, " streams open, at most ", per_client_));
  }
  ++held;
  std::unique_ptr<Place> place(new Place(this, client, std::move(cancel)));
  place->at_ = places_.insert(places_.end(), place.get());
  return place;
}

void StreamPlaces::GiveBack(Place* place) {
  const std::lock_guard<std::mutex> lock(mutex_);
  places_.erase(place->at_);
  const auto held = held_.find(place->client_);
  if (--held->second == 0) held_.erase(held);
}

int StreamPlaces::EndSlow() {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::int64_t now_ms = clock_->BootMs();
  int ended = 0;
  for (Place* place : places_) {
    const std::int64_t since_ms = place->since_ms_;
    if (place->cancelled_ || since_ms == 0 || now_ms - since_ms < slow_stream_ms_) continue;
    place->cancelled_ = true;
    // Under the lock, so that the stream's end waits for it.
    place->cancel_();
    ++ended;
  }
  return ended;
}

}  // namespace entrain::rpc
