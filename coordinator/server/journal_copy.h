// A copy of the journal while it is written: the loop's thread, which owns the journal, makes it in portions between two batches.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "coordinator/store/store.h"

namespace entrain::server {

class JournalCopy {
 public:
  // Waits until the copy is complete, as of the moment of return. From any thread but the loop's; one at a time.
  absl::Status Make(const std::string& path);
  // The loop's thread: whether something is to be done, and a portion of it.
  bool wanted();
  void Advance(store::Journal* journal);
  // No more portions: whoever waits is told so.
  void Close();

 private:
  std::mutex making_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string path_;  // empty: nothing is wanted
  std::optional<absl::Status> result_;
  bool closed_ = false;
  std::unique_ptr<store::Journal::Copy> copy_;  // the loop's own
};

}  // namespace entrain::server
