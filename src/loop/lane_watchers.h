// LaneWatchers: lets a loop reap the lanes of a worker (egress/uring_lane.h) when they have
// completions.
//
// A template, because this room does not know egress; a lane is what has fd() and reap(), and lanes
// are what has for_each(visit). Both must outlive it, and so must the loop. The loop's thread.
#pragma once

#include <memory>
#include <vector>

#include "loop/loop.h"

namespace pagewire::loop {

template <class Lane>
class LaneWatchers {
 public:
  explicit LaneWatchers(Loop& loop) : loop_(loop) {}
  LaneWatchers(const LaneWatchers&) = delete;
  LaneWatchers& operator=(const LaneWatchers&) = delete;
  ~LaneWatchers() { unwatch_all(); }

  /// Those that are open now; all of them or, on an error, none. Errors: as Loop::watch().
  template <class Lanes>
  Result<void> watch(const Lanes& lanes) {
    Result<void> watched;
    lanes.for_each([this, &watched](Lane& lane) {
      auto watcher = std::make_unique<LaneWatcher>(lane);
      if (Result<void> added = loop_.watch(lane.fd(), *watcher); !added) {
        watched = added;
      } else {
        watchers_.push_back(std::move(watcher));
      }
    });
    if (!watched) unwatch_all();
    return watched;
  }

 private:
  void unwatch_all() {
    for (const auto& watcher : watchers_) loop_.unwatch(watcher->lane.fd());
    watchers_.clear();
  }

  struct LaneWatcher final : Watcher {
    explicit LaneWatcher(Lane& watched) : lane(watched) {}
    void readable() override { lane.reap(); }
    Lane& lane;
  };

  Loop& loop_;
  std::vector<std::unique_ptr<LaneWatcher>> watchers_;
};

}  // namespace pagewire::loop
