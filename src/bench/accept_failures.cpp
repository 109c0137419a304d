// When a connection cannot be taken: EMFILE, ENFILE (out of descriptors), ENOBUFS, ENOMEM.
//
// Kernel fact: accept4(2) looks for a descriptor before it looks into the queue, so EMFILE also
// comes when nobody waits. So poll(2) is asked first whether anybody does.
#include "bench/accept_failures.h"

#include <poll.h>

namespace pagewire::bench {

loop::AfterFailure AcceptFailures::meet(Error error) {
  pollfd listener{.fd = listener_fd_, .events = POLLIN, .revents = 0};
  if (::poll(&listener, 1, 0) == 0) return loop::AfterFailure::WaitForOne;
  if (!told_) source_.complain("cannot take a connection: " + describe(error));
  told_ = true;
  // They wait in the queue until something has been given back.
  return loop::AfterFailure::Pause;
}

}  // namespace pagewire::bench
