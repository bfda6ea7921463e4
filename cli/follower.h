// Follows a sweep on a thread of its own: the newest state, and whether the coordinator is away. Reconnects until it is told to end.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "cli/client.h"
#include "cli/view/sweep_view.h"
#include "entrain/v1/sweep_service.pb.h"

namespace entrain::cli {

view::SweepView ToView(const v1::WatchUpdate& update);

class Follower {
 public:
  struct News {
    v1::WatchUpdate update;  // the newest one; empty before the first
    bool any = false;        // an update has arrived
    // The stream is down; what follows is the last known state.
    bool away = false;
    std::int64_t away_ms = 0;
    // The coordinator answered that it will never serve this (no such sweep, ...): nothing more comes.
    absl::Status refused;
    // Every run is final: nothing more comes.
    bool finished = false;
  };
  // `sweep` as the user wrote it; after the first answer the id it stands for is followed, whatever comes later.
  Follower(Client* client, std::string sweep);
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  News Latest() const;
  // Returns once the thread has ended.
  void End();

 private:
  void Run();
  // Waits before the next attempt; false when it is time to end.
  bool Pause(int attempt);

  Client* client_;
  std::string sweep_;
  StreamStop stop_;
  mutable std::mutex mutex_;
  News news_;
  std::int64_t away_since_ms_ = 0;
  std::thread thread_;
};

}  // namespace entrain::cli
