// WorkerParts: what a worker lends its transfers, lanes included, and a wait that does what a loop
// does for one that said Submitted.
#pragma once

#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <memory>
#include <vector>

#include "egress/egress.h"
#include "egress/uring_lane.h"
#include "sys/fd.h"
#include "sys/pipe.h"
#include "tls/tls.h"

namespace pagewire::test {

struct WorkerParts {
  sys::PipePool pool;
  std::vector<char> scratch = std::vector<char>(64 * kib);
  std::unique_ptr<egress::MasterPipes, egress::MasterPipesEnd> masters;
  egress::UringLanes lanes;
  egress::Resources resources{
      .pipes = pool, .scratch = scratch, .masters = masters.get(), .lanes = &lanes};
  egress::SocketState state;  // goes before the resources
  tls::SendBuffers send_buffers;
  tls::Outlet outlet{send_buffers};  // for tls_copy

  /// Equipped for `path`. The descriptors that it needs are open from here on.
  explicit WorkerParts(const egress::Path& path, sys::PipePool::Limits pipes = {},
                       std::size_t master_count = 4)
      : pool(pipes), masters(egress::make_master_pipes(master_count)) {
    Result<void> equipped = egress::equip(path, resources);
    // A polling thread of the kernel that a busy machine starts too late.
    for (int again = 0; again < 10 && !equipped && equipped.error().errno_value == ETIME; ++again) {
      equipped = egress::equip(path, resources);
    }
    EXPECT_TRUE(equipped.has_value()) << path.name << ": " << describe(equipped.error());
    for (const int fd : lanes.fds()) {
      epoll_event event{};
      event.events = EPOLLIN;
      EXPECT_EQ(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
    }
  }
  WorkerParts(const WorkerParts&) = delete;
  WorkerParts& operator=(const WorkerParts&) = delete;
  ~WorkerParts() { lanes.settle(); }

  /// One round of a loop: until a lane has completions, at most 60 s; false when none came.
  bool reap_once() {
    epoll_event event{};
    const int ready = ::epoll_wait(epoll_.get(), &event, 1, 60'000);
    lanes.reap();
    return ready == 1 || (ready < 0 && errno == EINTR);  // EINTR: the kernel has work for us
  }
  /// Until `woken`, which a waker of wake() sets; false when it never was.
  bool wait_for(bool& woken) {
    while (!woken) {
      if (!reap_once()) return false;
    }
    woken = false;
    return true;
  }
  static egress::Waker wake(bool& woken) {
    return {.call = [](void* self) { *static_cast<bool*>(self) = true; }, .self = &woken};
  }

 private:
  sys::Fd epoll_{::epoll_create1(EPOLL_CLOEXEC)};
};

/// A step as `path` makes it on its own: what it submitted is waited for.
inline egress::StepResult step_through(egress::Transfer& transfer, WorkerParts& parts,
                                       ByteCount quantum) {
  bool woken = false;
  transfer.waker = WorkerParts::wake(woken);
  for (;;) {
    const egress::StepResult result = egress::step(transfer, quantum);
    if (result.status != egress::Status::Submitted) return result;
    if (!parts.wait_for(woken)) {
      ADD_FAILURE() << "Submitted, but never woken";
      return result;
    }
  }
}

}  // namespace pagewire::test
