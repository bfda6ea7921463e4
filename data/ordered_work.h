// Work on a sequence by all cores, whose results come back in the sequence's order: what comes out does not depend on their number.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"

namespace entrain::data {

template <typename Item, typename Result>
struct OrderedWork {
  std::function<absl::StatusOr<bool>(Item*)> next;             // false at the end; on the calling thread
  std::function<absl::StatusOr<Result>(const Item&)> work;     // on any thread
  std::function<absl::StatusOr<bool>(Item*, Result)> finish;   // in order, on the calling thread; false ends it early

  // Stops at and returns the first error in the sequence's order. At most four items a thread are held at once.
  absl::Status Run(int threads) const;

 private:
  struct Task {
    Item item;
    std::optional<absl::StatusOr<Result>> result;
  };
  struct Shared {
    std::mutex mutex;
    std::condition_variable wake_worker;
    std::condition_variable wake_caller;
    std::deque<Task*> waiting;
    bool stopping = false;
  };
  void Serve(Shared* shared) const;
  using Tasks = std::deque<std::unique_ptr<Task>>;
  absl::Status Feed(Shared* shared, std::size_t window, Tasks* tasks) const;
};

template <typename Item, typename Result>
absl::Status OrderedWork<Item, Result>::Run(int threads) const {
  Shared shared;
  Tasks tasks;  // outlive the workers
  std::vector<std::thread> workers;
  for (int i = 0; i < threads; ++i) workers.emplace_back([&] { Serve(&shared); });
  const absl::Status status = Feed(&shared, static_cast<std::size_t>(threads) * 4, &tasks);
  {
    const std::lock_guard<std::mutex> lock(shared.mutex);
    shared.stopping = true;
    shared.waiting.clear();
  }
  shared.wake_worker.notify_all();
  for (std::thread& worker : workers) worker.join();
  return status;
}

template <typename Item, typename Result>
void OrderedWork<Item, Result>::Serve(Shared* shared) const {
  std::unique_lock<std::mutex> lock(shared->mutex);
  for (;;) {
    shared->wake_worker.wait(lock, [&] { return shared->stopping || !shared->waiting.empty(); });
    if (shared->stopping) return;
    Task* const task = shared->waiting.front();
    shared->waiting.pop_front();
    lock.unlock();
    absl::StatusOr<Result> result = work(task->item);
    lock.lock();
    task->result.emplace(std::move(result));
    shared->wake_caller.notify_one();
  }
}

template <typename Item, typename Result>
absl::Status OrderedWork<Item, Result>::Feed(Shared* shared, std::size_t window, Tasks* tasks) const {
  absl::Status reading;
  bool more = true;
  for (;;) {
    while (more && tasks->size() < window) {
      auto task = std::make_unique<Task>();
      const absl::StatusOr<bool> got = next(&task->item);
      if (!got.ok()) reading = got.status();
      more = got.ok() && *got;
      if (!more) break;
      const std::lock_guard<std::mutex> lock(shared->mutex);
      shared->waiting.push_back(task.get());
      tasks->push_back(std::move(task));
      shared->wake_worker.notify_one();
    }
    // What lies before the place where reading failed comes first.
    if (tasks->empty()) return reading;
    std::unique_lock<std::mutex> lock(shared->mutex);
    shared->wake_caller.wait(lock, [&] { return tasks->front()->result.has_value(); });
    lock.unlock();
    const std::unique_ptr<Task> task = std::move(tasks->front());
    tasks->pop_front();
    if (!task->result->ok()) return task->result->status();
    const absl::StatusOr<bool> go_on = finish(&task->item, *std::move(*task->result));
    if (!go_on.ok()) return go_on.status();
    if (!*go_on) return absl::OkStatus();
  }
}

}  // namespace entrain::data
