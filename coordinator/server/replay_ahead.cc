#include "coordinator/server/replay_ahead.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace entrain::server {
namespace {

// Facts that are handed over at once, and such heaps that may lie ready: they bound what is decoded and not applied yet.
constexpr std::size_t kFactsAtOnce = 256;
constexpr std::size_t kMaxReady = 64;

class Handover {
 public:
  void Put(std::vector<domain::Fact> facts) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ready_.size() < kMaxReady; });
    ready_.push_back(std::move(facts));
    changed_.notify_all();
  }
  void End() {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }
  // Empty once everything was taken.
  std::vector<domain::Fact> Take() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return ended_ || !ready_.empty(); });
    if (ready_.empty()) return {};
    std::vector<domain::Fact> facts = std::move(ready_.front());
    ready_.pop_front();
    changed_.notify_all();
    return facts;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<domain::Fact>> ready_;
  bool ended_ = false;
};

absl::Status Read(store::Journal* journal, Handover* handover) {
  std::vector<domain::Fact> facts;
  const absl::Status status = journal->Replay([&](domain::Fact fact) {
    facts.push_back(std::move(fact));
    if (facts.size() >= kFactsAtOnce) handover->Put(std::exchange(facts, {}));
  });
  if (!facts.empty()) handover->Put(std::move(facts));
  handover->End();
  return status;
}

}  // namespace

absl::Status ReplayAhead(store::Journal* journal, const std::function<void(domain::Fact)>& apply) {
  Handover handover;
  absl::Status status;
  std::thread reader([&] { status = Read(journal, &handover); });
  for (std::vector<domain::Fact> facts = handover.Take(); !facts.empty(); facts = handover.Take()) {
    for (domain::Fact& fact : facts) apply(std::move(fact));
  }
  reader.join();
  return status;
}

}  // namespace entrain::server
