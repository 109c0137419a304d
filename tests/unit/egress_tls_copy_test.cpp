// tls_copy around records that are not the response's own.
#include <gtest/gtest.h>

#include "egress/registry.h"
#include "sys/socket.h"
#include "tls/tls.h"

namespace pagewire::egress {
namespace {

/// A connection of https whose records are sealed here, and a transfer of `text` on it.
struct Sending {
  explicit Sending(const std::string& text) : segments{content::Segment::of_memory(text)} {
    tls::WriteKeys keys;
    keys.key[0] = 1;
    EXPECT_TRUE(outlet.install(keys, 0));
    transfer.path = &tls_copy_path;
    transfer.transport = {.socket_fd = sockets.sender.get(),
                          .kind = Transport::Kind::UserTls,
                          .outlet = &outlet,
                          .state = nullptr};
    transfer.resources = &resources;
    transfer.segments = segments;
  }
  tls::SendBuffers buffers;
  tls::Outlet outlet{buffers};
  sys::SocketPair sockets = std::move(*sys::tcp_pair_over_loopback());
  sys::PipePool pipes{{}};
  std::vector<char> scratch = std::vector<char>(64 * kib);
  Resources resources{.pipes = pipes, .scratch = scratch};
  std::array<content::Segment, 1> segments;
  Transfer transfer;
};

/// The socket has taken a buffer full of records, but not all of the alert behind them: no record
/// fits in before that has gone, and that is no failure.
TEST(TlsCopy, ARestOfAnAlertInAFullBufferIsNoFailure) {
  std::string text(tls::most_plain_bytes, 'x');
  Sending sending(text);
  tls::Outlet& outlet = sending.outlet;
  while (const std::size_t size = outlet.next_record(ByteCount{1 * mib})) {
    const iovec piece{text.data(), size};
    outlet.seal({&piece, 1});
  }
  constexpr std::array<unsigned char, 2> alert = {1, 0};
  ASSERT_TRUE(outlet.seal_control(tls::RecordType::Alert, alert));
  outlet.taken(outlet.waiting().size() - 1);
  ASSERT_EQ(outlet.held().value, 0U);
  ASSERT_EQ(outlet.waiting().size(), 1U);

  Transfer& transfer = sending.transfer;
  EXPECT_EQ(step(transfer, ByteCount{1 * mib}).status, Status::WantWrite);
  EXPECT_TRUE(outlet.empty());
  EXPECT_EQ(step(transfer, ByteCount{1 * mib}).status, Status::Done);
  EXPECT_EQ(transfer.sent.value, text.size());
}

/// Of a reader who stops, no more than a record or two waits sealed: the rest stays where it was.
TEST(TlsCopy, AFullSocketHasNextToNothingSealedForIt) {
  const std::string text(16 * mib, 'x');
  Sending sending(text);
  Transfer& transfer = sending.transfer;
  // As a connection does: after its first turn.
  ASSERT_EQ(step(transfer, ByteCount{256 * kib}).status, Status::Moved);
  ASSERT_TRUE(sys::limit_unsent(sending.sockets.sender.get(), ByteCount{256 * kib}).has_value());
  StepResult result;
  do {
    result = step(transfer, ByteCount{256 * kib});
  } while (result.status == Status::Moved);
  EXPECT_EQ(result.status, Status::WantWrite);
  EXPECT_LE(sending.outlet.held().value, 32 * kib);
}

}  // namespace
}  // namespace pagewire::egress
