// msg-zerocopy: whether a send with MSG_ZEROCOPY is taken and completed.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include "doctor/registry.h"
#include "sys/mapping.h"
#include "sys/socket.h"
#include "sys/uring.h"
#include "sys/zero_copy.h"

namespace pagewire::doctor {

namespace {

constexpr std::size_t count = 32 * kib;

/// Takes all that comes, so that it is acknowledged; a completion within 200 ms.
std::optional<sys::ZeroCopyCompletion> completion(const sys::SocketPair& pair) {
  std::string sink(count, '\0');
  for (int wait = 0; wait < 20; ++wait) {
    while (::recv(pair.receiver.get(), sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
    }
    if (const auto found = sys::next_completion(pair.sender.get())) return found;
    pollfd socket{.fd = pair.sender.get(), .events = 0, .revents = 0};
    ::poll(&socket, 1, 10);
  }
  return std::nullopt;
}

Finding failed(const std::string& why, std::string mend) {
  return {.looked_at = "a send of 32 KiB with MSG_ZEROCOPY over loopback, until its completion",
          .found = why,
          .status = Status::Warning,
          .costs = "the path zerocopy is not to be had; sendfile does not need it",
          .mend = std::move(mend)};
}

/// What lets a send be taken that was refused with this errno.
std::string mend_for(int errno_value) {
  // ENOBUFS: net.core.optmem_max has no room for a single completion, or RLIMIT_MEMLOCK none for
  // the pages (msg_zerocopy.rst).
  if (errno_value == ENOBUFS) return "sysctl -w net.core.optmem_max=131072, and ulimit -l 65536";
  // EPERM, ENOSYS: a filter; else a kernel before 4.14.
  return "allow SO_ZEROCOPY and MSG_ZEROCOPY in the container's seccomp profile";
}

Finding run(Examination&) {
  // Pages that go back to the kernel: they are never written again while a socket holds them.
  Result<sys::AnonymousMemory> memory = sys::AnonymousMemory::map(ByteCount{count});
  const Result<sys::SocketPair> pair = sys::tcp_pair_over_loopback();
  if (!pair || !memory) {
    return {.looked_at = "a send with MSG_ZEROCOPY over loopback",
            .found = {},
            .status = Status::Unknown,
            .reason = describe(pair ? memory.error() : pair.error())};
  }
  if (const Result<void> allowed = sys::allow_zero_copy(pair->sender.get()); !allowed) {
    return failed(describe(allowed.error()), mend_for(allowed.error().errno_value));
  }
  const ssize_t sent = ::send(pair->sender.get(), memory->bytes().data(), count,
                              MSG_ZEROCOPY | MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0) {
    const int why = errno;
    return failed("send: " + errno_text(why), mend_for(why));
  }
  const std::optional<sys::ZeroCopyCompletion> done = completion(*pair);
  if (!done) {
    return {.looked_at = "a send with MSG_ZEROCOPY over loopback",
            .found = {},
            .status = Status::Unknown,
            .reason = "no completion came within 200 ms"};
  }
  return {.looked_at = "a send of 32 KiB with MSG_ZEROCOPY over loopback, until its completion",
          .found = done->copied ? "works; loopback and veth copy all the same, a card does not"
                                : "works, without a copy"};
}

}  // namespace

const Check msg_zerocopy_check{.group = Group::Kernel, .name = "msg-zerocopy", .run = run};

}  // namespace pagewire::doctor
