// The raw half of `bench send`: each connection gets the whole file and a FIN.
#pragma once

#include <cstddef>

#include "base/result.h"
#include "bench/accept_failures.h"
#include "bench/send_source.h"
#include "loop/loop.h"

namespace pagewire::bench {

/// Takes connections from a loop's listener. Runs on the loop's thread; must outlive its streams'
/// being called, but may be destroyed before the loop is.
class RawSender final : public loop::Acceptor {
 public:
  /// `count`: stops the loop after so many connections; 0: never.
  struct Parts {
    SendSource& source;
    loop::Loop& loop;
    int listener_fd;
  };
  RawSender(const Parts& parts, std::size_t count)
      : source_(parts.source),
        loop_(parts.loop),
        count_(count),
        accept_failures_(parts.source, parts.listener_fd) {}

  void accepted(sys::Accepted connection) override;
  loop::AfterFailure accept_failed(Error error) override { return accept_failures_.meet(error); }
  void tick() {}  ///< about every 100 ms
  /// The command was stopped: resets what is under way, and says so.
  void cut_off();

  // For its connections:
  SendSource& source() { return source_; }
  loop::Loop& loop() { return loop_; }
  void connection_over();

 private:
  SendSource& source_;
  loop::Loop& loop_;
  std::size_t count_;
  std::size_t accepted_ = 0;
  std::size_t over_ = 0;
  AcceptFailures accept_failures_;
};

}  // namespace pagewire::bench
