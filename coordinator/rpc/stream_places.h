// The streams that clients hold open: so many a client, and none that keeps a thread waiting for a peer that does not move. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"

namespace entrain::rpc {

class StreamPlaces {
 public:
  // One stream's place, given back at its end.
  class Place {
   public:
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    // While it lives the stream waits for the peer: to take what is written, or to send what it must.
    class Waiting {
     public:
      explicit Waiting(Place* place) : place_(place) { place_->since_ms_ = place_->places_->clock_->BootMs(); }
      ~Waiting() { place_->since_ms_ = 0; }
      Waiting(const Waiting&) = delete;
      Waiting& operator=(const Waiting&) = delete;

     private:
      Place* const place_;
    };
    [[nodiscard]] Waiting Wait() { return Waiting(this); }

   private:
    friend class StreamPlaces;
    Place(StreamPlaces* places, std::string client, std::function<void()> cancel)
        : places_(places), client_(std::move(client)), cancel_(std::move(cancel)) {}
    StreamPlaces* const places_;
    const std::string client_;
    const std::function<void()> cancel_;
    std::atomic<std::int64_t> since_ms_{0};  // 0: not waiting
    bool cancelled_ = false;
    std::list<Place*>::iterator at_;
  };

  // `per_client` 0: without limit.
  StreamPlaces(const Clock* clock, int per_client, std::int64_t slow_stream_ms)
      : clock_(clock), per_client_(per_client), slow_stream_ms_(slow_stream_ms) {}

  // RESOURCE_EXHAUSTED when the client has as many as it may; `limited` false: not counted. `cancel` ends the stream, from another thread,
  // once at most and never after the place is gone.
  absl::StatusOr<std::unique_ptr<Place>> Take(const std::string& client, bool limited, std::function<void()> cancel);
  // Ends the streams that have waited too long; their number.
  int EndSlow();

 private:
  void GiveBack(Place* place);

  const Clock* const clock_;
  const int per_client_;
  const std::int64_t slow_stream_ms_;
  std::mutex mutex_;
  std::map<std::string, int> held_;
  std::list<Place*> places_;
};

}  // namespace entrain::rpc
