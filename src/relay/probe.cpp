// probe_splice: some bytes through two TCP connections of this process and a pipe, as a relay
// would move them, compared at the end.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "relay/relay.h"
#include "sys/plain_calls.h"
#include "sys/splice.h"

namespace pagewire::relay {

namespace {

std::string say(std::string_view what, int errno_value) {
  return std::string(what) + ": " + std::strerror(errno_value);
}

/// Every 8 bytes hold their own offset: bytes from a wrong place are told.
template <std::size_t N>
std::array<char, N> coded() {
  std::array<char, N> bytes{};
  for (std::uint64_t at = 0; at + 8 <= N; at += 8) std::memcpy(&bytes[at], &at, sizeof at);
  return bytes;
}

/// All of `count`, at once: over loopback the bytes are there when the send has returned.
bool splice_all(int from, int to, std::size_t count) {
  while (count > 0) {
    const ssize_t n = sys::splice_some(from, to, count, sys::More::No);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENODATA;
    if (n <= 0) return false;
    count -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace

std::string probe_splice() {
  constexpr std::size_t count = 8 * kib;
  const Result<sys::SocketPair> in = sys::tcp_pair_over_loopback();
  if (!in) return "cannot probe splice: " + describe(in.error());
  const Result<sys::SocketPair> out = sys::tcp_pair_over_loopback();
  if (!out) return "cannot probe splice: " + describe(out.error());
  const Result<sys::Pipe> pipe = sys::make_pipe(ByteCount{64 * kib});
  if (!pipe) return "cannot probe splice: " + describe(pipe.error());
  const auto sent = coded<count>();
  if (sys::plain_send(in->sender.get(), sent.data(), count, MSG_NOSIGNAL) !=
      static_cast<ssize_t>(count)) {
    return "cannot probe splice: the probe's bytes were not taken";
  }
  if (!splice_all(in->receiver.get(), pipe->write_end.get(), count)) {
    return say("splice from a TCP socket", errno);
  }
  if (!splice_all(pipe->read_end.get(), out->sender.get(), count)) {
    return say("splice to a TCP socket", errno);
  }
  std::array<char, count> came{};
  const ssize_t n = sys::plain_recv(out->receiver.get(), came.data(), count, MSG_WAITALL);
  if (n != static_cast<ssize_t>(count) || came != sent) {
    return "splice between TCP sockets gives other bytes than it was given";
  }
  return {};
}

}  // namespace pagewire::relay
