#include "worker/launcher/rank_watch.h"

#include <sys/stat.h>
#include <unistd.h>

namespace entrain::launcher {
namespace {

// Changes with every touch, and means nothing else; 0: there is no file.
std::int64_t TouchStampNs(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return 0;
  return static_cast<std::int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

RankWatch::RankWatch(attempt::AttemptFolder folder, std::int64_t first_rank, std::int64_t ranks) : folder_(std::move(folder)) {
  for (std::int64_t i = 0; i < ranks; ++i) ranks_.push_back({.rank = first_rank + i});
}

void RankWatch::Poll(std::int64_t now_ms) {
  for (Rank& rank : ranks_) {
    if (rank.ended) continue;
    const std::int64_t stamp_ns = TouchStampNs(folder_.HeartbeatPath(rank.rank));
    if (stamp_ns == rank.stamp_ns) {
      rank.ended = ::access(folder_.TerminalPath(rank.rank).c_str(), F_OK) == 0;
      continue;
    }
    rank.stamp_ns = stamp_ns;
    rank.changed_ms = now_ms;
  }
}

std::int64_t RankWatch::FrozenFor(std::int64_t limit_ms, std::int64_t now_ms) const {
  for (const Rank& rank : ranks_) {
    if (!rank.ended && rank.stamp_ns != 0 && now_ms - rank.changed_ms >= limit_ms) return rank.rank;
  }
  return -1;
}

void RankWatch::Restart(std::int64_t now_ms) {
  for (Rank& rank : ranks_) rank.changed_ms = now_ms;
}

}  // namespace entrain::launcher
