// Whether the ranks of this machine run: each touches a file once a second from a thread of its own, so that a frozen process shows even
// while its training thread waits for others.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "worker/attempt/attempt_folder.h"

namespace entrain::launcher {

class RankWatch {
 public:
  RankWatch(attempt::AttemptFolder folder, std::int64_t first_rank, std::int64_t ranks);

  void Poll(std::int64_t now_ms);
  // The first rank that touched its file before, has left no record of its end and was still for `limit_ms`; -1: none.
  std::int64_t FrozenFor(std::int64_t limit_ms, std::int64_t now_ms) const;
  // This process did not run for a while, so stillness means nothing.
  void Restart(std::int64_t now_ms);

 private:
  struct Rank {
    std::int64_t rank = 0;
    std::int64_t stamp_ns = 0;  // 0: not seen yet
    std::int64_t changed_ms = 0;
    bool ended = false;
  };
  attempt::AttemptFolder folder_;
  std::vector<Rank> ranks_;
};

}  // namespace entrain::launcher
