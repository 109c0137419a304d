// The PROXY protocol as tables: what is a header, what never becomes one, and what is written.
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "relay/proxy_protocol.h"

namespace pagewire::relay {
namespace {

using Kind = ProxyHeader::Kind;
using namespace std::string_view_literals;
using namespace std::string_literals;

constexpr std::string_view signature = "\r\n\r\n\0\r\nQUIT\n"sv;

std::string v2(std::string_view command_and_family, std::string_view block) {
  std::string header(signature);
  header += command_and_family;
  header += static_cast<char>(block.size() >> 8U);
  header += static_cast<char>(block.size() & 0xffU);
  return header.append(block);
}

ProxyHeader parse(std::string_view bytes) {
  return parse_proxy_header(std::span(bytes.data(), bytes.size()));
}

/// Every true prefix of `header` says NeedMore, and what follows it changes nothing.
ProxyHeader parse_in_pieces(const std::string& header) {
  for (std::size_t n = 0; n < header.size(); ++n) {
    // A copy of its own, so that a sanitizer sees a read beyond it.
    const std::vector<char> part(header.begin(), header.begin() + static_cast<std::ptrdiff_t>(n));
    EXPECT_EQ(parse_proxy_header(part).kind, Kind::NeedMore) << n;
  }
  const ProxyHeader alone = parse(header);
  const ProxyHeader followed = parse(header + "\r\nPROXY \0 and more"s.append("x"));
  EXPECT_EQ(alone.kind, followed.kind);
  EXPECT_EQ(alone.length, followed.length);
  return alone;
}

void expect_addresses(const std::string& bytes, const char* source, const char* destination) {
  const ProxyHeader header = parse_in_pieces(bytes);
  ASSERT_EQ(header.kind, Kind::Parsed) << header.why;
  EXPECT_FALSE(header.local);
  EXPECT_EQ(header.length, bytes.size());
  EXPECT_EQ(header.addresses.source.to_string(), source);
  EXPECT_EQ(header.addresses.destination.to_string(), destination);
}

void expect_local(const std::string& bytes) {
  const ProxyHeader header = parse_in_pieces(bytes);
  ASSERT_EQ(header.kind, Kind::Parsed) << header.why;
  EXPECT_TRUE(header.local);
  EXPECT_EQ(header.length, bytes.size());
}

TEST(ProxyProtocol, V1Addresses) {
  expect_addresses("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n", "192.0.2.1:56324",
                   "198.51.100.7:443");
  expect_addresses("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535",
                   "0.0.0.0:0");
  expect_addresses("PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2");
  expect_addresses(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
      "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

TEST(ProxyProtocol, V1Unknown) {
  expect_local("PROXY UNKNOWN\r\n");
  expect_local("PROXY UNKNOWN whatever \x80\xff stands here\r\n");
  std::string longest = "PROXY UNKNOWN ";
  longest.append(max_proxy_v1_bytes - longest.size() - 2, 'x');
  expect_local(longest + "\r\n");
  EXPECT_EQ(parse(longest + "x\r\n").why, "v1-too-long");
  EXPECT_EQ(parse(longest + "xxx").why, "v1-too-long");
}

TEST(ProxyProtocol, V1Bad) {
  const struct {
    std::string_view bytes;
    std::string_view why;
  } cases[] = {
      {"GET / HTTP/1.1\r\n", "no-header"},
      {"P0", "no-header"},
      {"proxy TCP4", "no-header"},
      {"PROXY\tTCP4", "no-header"},
      {"\x16\x03\x01", "no-header"},
      {"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "v1-protocol"},
      {"PROXY UNKNOWNS\r\n", "v1-protocol"},
      {"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "v1-protocol"},
      {"PROXY TCP4\r\n", "v1-protocol"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "v1-fields"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", "v1-fields"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", "v1-fields"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n", "v1-address"},
      {"PROXY TCP4  1.2.3.4 1 2\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", "v1-address"},
      {"PROXY TCP4 ::1 ::1 1 2\r\n", "v1-address"},
      {"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", "v1-address"},
      {"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", "v1-address"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "v1-line-end"},
      {"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rx", "v1-line-end"},
      {"PROXY UNKNOWN \0\r\n"sv, "v1-line-end"},
  };
  for (const auto& [bytes, why] : cases) {
    EXPECT_EQ(parse(bytes).kind, Kind::Bad) << bytes;
    EXPECT_EQ(parse(bytes).why, why) << bytes;
  }
}

constexpr std::string_view tcp4_block = "\x7f\0\0\1\xc0\0\2\1\0\x50\xff\xff"sv;
constexpr std::string_view tcp6_block =
    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2\1\0\0\1"sv;

TEST(ProxyProtocol, V2Addresses) {
  expect_addresses(v2("\x21\x11", tcp4_block), "127.0.0.1:80", "192.0.2.1:65535");
  expect_addresses(v2("\x21\x21", tcp6_block), "[2001:db8::1]:256", "[::2]:1");
  const std::string tlvs = "\x05\0\3abc\x04\0\0"s;
  expect_addresses(v2("\x21\x11", std::string(tcp4_block) + tlvs), "127.0.0.1:80",
                   "192.0.2.1:65535");
}

TEST(ProxyProtocol, V2WithoutAddressesOfTcp) {
  expect_local(v2("\x20\0"sv, ""));
  expect_local(v2("\x20\x77"sv, "any block"));
  expect_local(v2("\x20\x11", tcp4_block));
  expect_local(v2("\x21\0"sv, ""));
  expect_local(v2("\x21\0"sv, "not a tlv"));
  expect_local(v2("\x21\x12", tcp4_block));
  expect_local(v2("\x21\x22", tcp6_block));
  expect_local(v2("\x21\x31", std::string(216, '/')));
  expect_local(v2("\x21\x32", std::string(216, '/')));
}

TEST(ProxyProtocol, V2Bad) {
  const struct {
    std::string bytes;
    std::string_view why;
  } cases[] = {
      {"\r\n\r\n\r\n"s, "no-header"},
      {std::string(signature) + "\x11"s, "v2-command"},
      {std::string(signature) + "\x22"s, "v2-command"},
      {std::string(signature) + "\x21\x10"s, "v2-family"},
      {std::string(signature) + "\x21\x41"s, "v2-family"},
      {std::string(signature) + "\x21\x11\0\x0b"s, "v2-length"},
      {std::string(signature) + "\x21\x21\0\x23"s, "v2-length"},
      {std::string(signature) + "\x21\x31\0\xd7"s, "v2-length"},
      {std::string(signature) + "\x21\x11\xff\xff"s, "v2-too-long"},
      {std::string(signature) + "\x20\0\x3f\xf1"s, "v2-too-long"},
      {v2("\x21\x11", std::string(tcp4_block) + "\1"s), "v2-tlv"},
      {v2("\x21\x11", std::string(tcp4_block) + "\1\0\1"s), "v2-tlv"},
      {v2("\x21\x21", std::string(tcp6_block) + "\1\xff\xff"s + "abc"), "v2-tlv"},
  };
  for (const auto& [bytes, why] : cases) {
    EXPECT_EQ(parse(bytes).kind, Kind::Bad) << why;
    EXPECT_EQ(parse(bytes).why, why);
  }
  // The longest one that is taken.
  expect_local(v2("\x20\0"sv, std::string(max_proxy_header_bytes - 16, 'x')));
}

std::string write(ProxyVersion version, const char* source, const char* destination) {
  std::array<char, max_written_proxy_bytes> room{};
  return std::string(write_proxy_header(
      version,
      {.source = *sys::Address::parse(source), .destination = *sys::Address::parse(destination)},
      room));
}

TEST(ProxyProtocol, Writes) {
  EXPECT_EQ(write(ProxyVersion::V1, "192.0.2.1:56324", "[::ffff:198.51.100.7]:443"),
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
  EXPECT_EQ(write(ProxyVersion::V1, "[2001:db8::1]:1", "192.0.2.1:2"),
            "PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 2\r\n");
  EXPECT_EQ(write(ProxyVersion::V2, "127.0.0.1:80", "192.0.2.1:65535"), v2("\x21\x11", tcp4_block));
  EXPECT_EQ(write(ProxyVersion::V2, "[2001:db8::1]:256", "[::2]:1"), v2("\x21\x21", tcp6_block));
}

TEST(ProxyProtocol, WritesNobody) {
  std::array<char, max_written_proxy_bytes> room{};
  EXPECT_EQ(write_local_proxy_header(ProxyVersion::V1, room), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(write_local_proxy_header(ProxyVersion::V2, room), v2("\x20\0"sv, ""));
  // An address that could not be had (the peer is gone).
  EXPECT_EQ(write_proxy_header(ProxyVersion::V1, {}, room), "PROXY UNKNOWN\r\n");
}

TEST(ProxyProtocol, ReadsWhatItWrites) {
  const char* const hosts[] = {"1.2.3.4:5", "255.255.255.255:65535", "[::1]:1", "[2001:db8::9]:0"};
  for (const ProxyVersion version : {ProxyVersion::V1, ProxyVersion::V2}) {
    for (const char* source : hosts) {
      for (const char* destination : hosts) {
        expect_addresses(write(version, source, destination), source, destination);
      }
    }
  }
}

}  // namespace
}  // namespace pagewire::relay
