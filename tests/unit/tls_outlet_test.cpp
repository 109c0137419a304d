// An Outlet without a session: what it counts, how large its records are, what memory it holds.
#include "tls/outlet.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "sys/socket.h"

namespace pagewire::tls {
namespace {

WriteKeys some_keys() {
  WriteKeys keys;
  keys.key[0] = 1;
  return keys;
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 31 + i / 256);
  return text;
}

TEST(TlsOutlet, PlainBytesCountAsTheirRecordsGo) {
  for (const std::size_t step : {1U, 5U, 700U, 100'000U}) {
    SendBuffers buffers;
    Outlet outlet(buffers);
    ASSERT_TRUE(outlet.install(some_keys(), 0));
    std::string text = pattern(3000);
    for (const std::size_t size : {1000U, 1U, 1999U}) {
      const iovec piece{text.data(), size};
      outlet.seal({&piece, 1});
    }
    EXPECT_EQ(outlet.held().value, 3000U);
    ByteCount plain;
    while (!outlet.empty()) {
      EXPECT_GT(outlet.held().value, 0U) << "nothing held means nothing unsent";
      plain += outlet.taken(std::min(step, outlet.waiting().size()));
      EXPECT_EQ(plain.value + outlet.held().value, 3000U);
    }
    EXPECT_EQ(plain.value, 3000U);
  }
}

TEST(TlsOutlet, RecordsBeginSmallAfterAnIdleTime) {
  SendBuffers buffers;
  Outlet outlet(buffers);
  ASSERT_TRUE(outlet.install(some_keys(), 0));
  const std::string text = pattern(most_plain_bytes);
  const auto drain = [&](ByteCount size) {
    std::vector<std::size_t> sizes;
    while (size.value > 0) {
      const std::size_t next = outlet.next_record(size);
      if (next == 0) {
        outlet.taken(outlet.waiting().size());
        continue;
      }
      const iovec piece{const_cast<char*>(text.data()), next};
      outlet.seal({&piece, 1});
      sizes.push_back(next);
      size -= ByteCount{next};
    }
    return sizes;
  };
  constexpr ByteCount large{1 * mib};
  outlet.begin_response(1'000, large);
  std::vector<std::size_t> sizes = drain(large);
  EXPECT_EQ(sizes.front(), 1'400U);
  EXPECT_EQ(std::count(sizes.begin(), sizes.end(), 1'400U), 47) << "about 64 KiB";
  EXPECT_EQ(sizes[48], most_plain_bytes);
  outlet.begin_response(1'500, large);
  EXPECT_EQ(drain(large).front(), most_plain_bytes) << "not idle";
  outlet.begin_response(9'000, ByteCount{10'000});
  EXPECT_EQ(drain(ByteCount{10'000}).front(), 10'000U) << "fits into one record";
  outlet.begin_response(19'000, large);
  EXPECT_EQ(drain(large).front(), 1'400U);
}

TEST(TlsOutlet, ForgottenKeysAreWiped) {
  SendBuffers buffers;
  Outlet outlet(buffers);
  WriteKeys keys = some_keys();
  keys.iv.fill(7);
  keys.secret.bytes.fill(9);
  keys.secret.size = 48;
  ASSERT_TRUE(outlet.install(keys, 5));
  const std::size_t overhead = outlet.record_overhead();
  outlet.forget_keys(Outlet::Forget::All);
  EXPECT_FALSE(outlet.seals());
  const WriteKeys& left = outlet.keys();
  EXPECT_EQ(left.key, decltype(left.key){});
  EXPECT_EQ(left.iv, decltype(left.iv){});
  EXPECT_EQ(left.secret.bytes, decltype(left.secret.bytes){});
  EXPECT_EQ(outlet.record_overhead(), overhead);
  EXPECT_EQ(outlet.sequence(), 5U);
}

/// One send takes as much as the socket has taken of late: no more waits of a reader who stops.
TEST(TlsOutlet, FillsGrowWithWhatTheSocketTakes) {
  SendBuffers buffers;
  Outlet outlet(buffers);
  ASSERT_TRUE(outlet.install(some_keys(), 0));
  const std::string text = pattern(most_plain_bytes);
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  const auto fill = [&] {
    std::size_t records = 0;
    for (; outlet.fill_left() > 0 && outlet.next_record(ByteCount{1 * mib}) > 0; ++records) {
      outlet.seal({&piece, 1});
    }
    return records;
  };
  sys::SocketPair sockets = std::move(*sys::tcp_pair_over_loopback());
  std::string sink(1 * mib, '\0');
  for (const std::size_t records : {2U, 4U, 8U, 8U}) {
    EXPECT_EQ(fill(), records);
    ASSERT_TRUE(outlet.send(sockets.sender.get(), false).has_value());
    ASSERT_TRUE(outlet.empty());
    ASSERT_GT(::recv(sockets.receiver.get(), sink.data(), sink.size(), 0), 0);
  }
}

TEST(TlsOutlet, ThereIsAlwaysRoomForAnAlert) {
  SendBuffers buffers;
  Outlet outlet(buffers);
  ASSERT_TRUE(outlet.install(some_keys(), 0));
  const std::string text = pattern(most_plain_bytes);
  while (const std::size_t size = outlet.next_record(ByteCount{100 * mib})) {
    const iovec piece{const_cast<char*>(text.data()), size};
    outlet.seal({&piece, 1});
  }
  constexpr std::array<unsigned char, 2> alert = {1, 0};
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(outlet.seal_control(RecordType::Alert, alert));
}

}  // namespace
}  // namespace pagewire::tls
