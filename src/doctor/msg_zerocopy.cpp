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

Finding failed(const Examination& examination, const std::string& why) {
  (void)examination;
  return {.looked_at = "a send of 32 KiB with MSG_ZEROCOPY over loopback, until its completion",
          .found = why,
          .status = Status::Warning,
          .costs = "the path zerocopy is not to be had; sendfile does not need it",
          .mend = "sysctl -w net.core.optmem_max=131072"};
}

Finding run(Examination& examination) {
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
    return failed(examination, describe(allowed.error()));
  }
  const ssize_t sent = ::send(pair->sender.get(), memory->bytes().data(), count,
                              MSG_ZEROCOPY | MSG_NOSIGNAL | MSG_DONTWAIT);
  // ENOBUFS: net.core.optmem_max is too small for a single one.
  if (sent < 0) return failed(examination, "send: " + errno_text(errno));
  const std::optional<sys::ZeroCopyCompletion> done = completion(*pair);
  if (!done) return failed(examination, "no completion within 200 ms");
  return {.looked_at = "a send of 32 KiB with MSG_ZEROCOPY over loopback, until its completion",
          .found = done->copied ? "works; loopback and veth copy all the same, a card does not"
                                : "works, without a copy"};
}

}  // namespace

const Check msg_zerocopy_check{.group = Group::Kernel, .name = "msg-zerocopy", .run = run};

}  // namespace pagewire::doctor
