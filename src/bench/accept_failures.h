// What a listener of `bench send` does when accept4(2) fails: a line, once, and patience.
#pragma once

#include "bench/send_source.h"
#include "loop/loop.h"

namespace pagewire::bench {

class AcceptFailures {
 public:
  AcceptFailures(const SendSource& source, int listener_fd)
      : source_(source), listener_fd_(listener_fd) {}

  /// A connection was taken: the next failure is told again.
  void over() { told_ = false; }
  /// Of Acceptor::accept_failed.
  loop::AfterFailure meet(Error error);

 private:
  const SendSource& source_;
  int listener_fd_;
  bool told_ = false;
};

}  // namespace pagewire::bench
