// The newest lines of a run's log, followed on a thread of its own until the run is final; starts again when the coordinator was away.
#pragma once

#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "cli/client.h"
#include "cli/view/screen.h"

namespace entrain::cli {

class LogTail {
 public:
  LogTail(Client* client, std::string run, std::string name);
  // Returns once the thread has ended.
  ~LogTail();
  LogTail(const LogTail&) = delete;
  LogTail& operator=(const LogTail&) = delete;

  view::LogView Latest() const;

 private:
  void Run();
  void Add(const v1::LogLine& line);
  bool Pause();

  Client* client_;
  const std::string run_;
  const std::string name_;
  StreamStop stop_;
  mutable std::mutex mutex_;
  std::deque<std::string> lines_;
  std::string note_;
  std::thread thread_;
};

}  // namespace entrain::cli
