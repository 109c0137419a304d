// Tasks: what other threads hand to a loop, and the eventfd that wakes it for them.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "sys/epoll.h"

namespace pagewire::loop {

class Tasks {
 public:
  explicit Tasks(sys::Wakeup wakeup) : wakeup_(std::move(wakeup)) {}

  int fd() const { return wakeup_.fd(); }

  /// Any thread.
  void post(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wakeup_.wake();
  }
  /// Any thread: the descriptor becomes readable, with or without a task.
  void wake() { wakeup_.wake(); }

  /// The loop's thread, when the descriptor is readable.
  void run() {
    wakeup_.clear();
    std::vector<std::function<void()>> due;
    {
      const std::lock_guard lock(mutex_);
      due.swap(tasks_);
    }
    for (const std::function<void()>& task : due) task();
  }

 private:
  sys::Wakeup wakeup_;
  std::mutex mutex_;
  std::vector<std::function<void()>> tasks_;
};

}  // namespace pagewire::loop
