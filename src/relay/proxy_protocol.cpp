#include "relay/proxy_protocol.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

#include "base/check.h"

namespace pagewire::relay {

namespace {

using Kind = ProxyHeader::Kind;

constexpr std::string_view v1_start = "PROXY ";
constexpr std::string_view v2_signature("\r\n\r\n\0\r\nQUIT\n", 12);

// Where the parts of a version 2 header stand (section 2.2).
constexpr std::size_t command_at = 12;
constexpr std::size_t family_at = 13;
constexpr std::size_t length_at = 14;
constexpr std::size_t block_at = 16;
constexpr std::size_t tlv_head_bytes = 3;

enum Command : std::uint8_t { Local = 0x20, Proxy = 0x21 };
/// Address family and transport; all that the document calls valid.
enum Family : std::uint8_t {
  Unspecified = 0x00,
  Tcp4 = 0x11,
  Udp4 = 0x12,
  Tcp6 = 0x21,
  Udp6 = 0x22,
  UnixStream = 0x31,
  UnixDatagram = 0x32,
};

ProxyHeader bad(std::string_view why) {
  return {.kind = Kind::Bad, .why = why};
}

ProxyHeader parsed_local(std::size_t length) {
  return {.kind = Kind::Parsed, .local = true, .length = length};
}

bool may_become(std::string_view bytes, std::string_view start) {
  const std::size_t both = std::min(bytes.size(), start.size());
  return bytes.substr(0, both) == start.substr(0, both);
}

template <class T>
sys::Address address_from(const T& raw) {
  sockaddr_storage storage{};
  std::memcpy(&storage, &raw, sizeof raw);
  return sys::Address::from_raw(storage, sizeof raw);
}

/// `port` in network order, as it stands in a socket address.
sys::Address ipv4(const in_addr& host, in_port_t port) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = port;
  raw.sin_addr = host;
  return address_from(raw);
}

sys::Address ipv6(const in6_addr& host, in_port_t port) {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_port = port;
  raw.sin6_addr = host;
  return address_from(raw);
}

// ---------------------------------------------------------------- version 1

std::optional<in_port_t> port_from_text(std::string_view text) {
  const bool leading_zero = text.size() > 1 && text.front() == '0';
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || leading_zero) return {};
  return htons(port);
}

std::optional<sys::Address> address_from_text(bool v6, std::string_view host,
                                              std::string_view port_text) {
  const std::optional<in_port_t> port = port_from_text(port_text);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (!port || host.size() >= text.size()) return {};
  host.copy(text.data(), host.size());
  in_addr host4{};
  in6_addr host6{};
  // inet_pton stops at a NUL: what stands behind one would be passed over.
  if (std::strlen(text.data()) != host.size()) return {};
  if (!v6 && ::inet_pton(AF_INET, text.data(), &host4) == 1) return ipv4(host4, *port);
  if (v6 && ::inet_pton(AF_INET6, text.data(), &host6) == 1) return ipv6(host6, *port);
  return {};
}

/// The four fields between single spaces: source, destination, and their ports.
bool split_fields(std::string_view text, std::array<std::string_view, 4>& fields) {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const bool last = i + 1 == fields.size();
    const std::size_t space = text.find(' ');
    if ((space == text.npos) != last) return false;
    fields[i] = text.substr(0, space);
    if (!last) text.remove_prefix(space + 1);
  }
  return true;
}

/// `line` without CR LF.
ProxyHeader parse_v1_line(std::string_view line) {
  const std::size_t length = line.size() + 2;
  std::string_view rest = line.substr(v1_start.size());
  // What follows UNKNOWN has to be passed over, whatever it is.
  if (rest == "UNKNOWN" || rest.starts_with("UNKNOWN ")) return parsed_local(length);
  const bool v6 = rest.starts_with("TCP6 ");
  if (!v6 && !rest.starts_with("TCP4 ")) return bad("v1-protocol");
  rest.remove_prefix(5);
  std::array<std::string_view, 4> fields;
  if (!split_fields(rest, fields)) return bad("v1-fields");
  const auto source = address_from_text(v6, fields[0], fields[2]);
  const auto destination = address_from_text(v6, fields[1], fields[3]);
  if (!source || !destination) return bad("v1-address");
  return {.kind = Kind::Parsed,
          .local = false,
          .length = length,
          .addresses = {.source = *source, .destination = *destination}};
}

ProxyHeader parse_v1(std::string_view bytes) {
  const std::string_view line = bytes.substr(0, max_proxy_v1_bytes);
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\n' || line[i] == '\0') return bad("v1-line-end");
    if (line[i] != '\r') continue;
    if (i + 1 == max_proxy_v1_bytes) break;
    if (i + 1 == line.size()) return {};
    return line[i + 1] == '\n' ? parse_v1_line(line.substr(0, i)) : bad("v1-line-end");
  }
  if (line.size() == max_proxy_v1_bytes) return bad("v1-too-long");
  return {};
}

// ---------------------------------------------------------------- version 2

std::uint8_t byte_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint8_t>(bytes[at]);
}

std::size_t big_endian_at(std::string_view bytes, std::size_t at) {
  return static_cast<std::size_t>(byte_at(bytes, at)) << 8U | byte_at(bytes, at + 1);
}

/// Bytes of addresses in front of the TLVs; none: not a family of the document.
std::optional<std::size_t> address_bytes(std::uint8_t family) {
  switch (family) {
    case Unspecified:
      return 0;
    case Tcp4:
    case Udp4:
      return 12;
    case Tcp6:
    case Udp6:
      return 36;
    case UnixStream:
    case UnixDatagram:
      return 216;
    default:
      return {};
  }
}

bool tlvs_fit(std::string_view tlvs) {
  while (!tlvs.empty()) {
    if (tlvs.size() < tlv_head_bytes) return false;
    const std::size_t value_bytes = big_endian_at(tlvs, 1);
    if (tlvs.size() - tlv_head_bytes < value_bytes) return false;
    tlvs.remove_prefix(tlv_head_bytes + value_bytes);
  }
  return true;
}

template <class Host>
Host host_at(std::string_view block, std::size_t at) {
  Host host{};
  std::memcpy(&host, block.data() + at, sizeof host);
  return host;
}

in_port_t port_at(std::string_view block, std::size_t at) {
  return htons(static_cast<std::uint16_t>(big_endian_at(block, at)));
}

/// The header is whole. `block` is what follows its first 16 bytes.
ProxyHeader parse_v2_block(std::uint8_t family, std::string_view block) {
  const std::size_t length = block_at + block.size();
  // Nothing is promised about what follows an unspecified family.
  if (family == Unspecified) return parsed_local(length);
  if (!tlvs_fit(block.substr(*address_bytes(family)))) return bad("v2-tlv");
  // No address of TCP: as section 2.2 has it for those that a receiver does not know.
  if (family != Tcp4 && family != Tcp6) return parsed_local(length);
  ProxyHeader header{.kind = Kind::Parsed, .local = false, .length = length};
  if (family == Tcp4) {
    header.addresses = {.source = ipv4(host_at<in_addr>(block, 0), port_at(block, 8)),
                        .destination = ipv4(host_at<in_addr>(block, 4), port_at(block, 10))};
  } else {
    header.addresses = {.source = ipv6(host_at<in6_addr>(block, 0), port_at(block, 32)),
                        .destination = ipv6(host_at<in6_addr>(block, 16), port_at(block, 34))};
  }
  return header;
}

ProxyHeader parse_v2(std::string_view bytes) {
  if (bytes.size() <= command_at) return {};
  const std::uint8_t command = byte_at(bytes, command_at);
  if (command != Local && command != Proxy) return bad("v2-command");
  if (bytes.size() <= family_at) return {};
  const std::uint8_t family = byte_at(bytes, family_at);
  const std::optional<std::size_t> needed = address_bytes(family);
  // The family of LOCAL has to be ignored.
  if (command == Proxy && !needed) return bad("v2-family");
  if (bytes.size() < block_at) return {};
  const std::size_t block_bytes = big_endian_at(bytes, length_at);
  if (block_at + block_bytes > max_proxy_header_bytes) return bad("v2-too-long");
  if (command == Proxy && block_bytes < *needed) return bad("v2-length");
  if (bytes.size() < block_at + block_bytes) return {.needed = block_at + block_bytes};
  if (command == Local) return parsed_local(block_at + block_bytes);
  return parse_v2_block(family, bytes.substr(block_at, block_bytes));
}

}  // namespace

ProxyHeader parse_proxy_header(std::span<const char> bytes) {
  const std::string_view text(bytes.data(), bytes.size());
  // The two begin with different bytes.
  if (may_become(text, v2_signature)) return parse_v2(text);
  if (may_become(text, v1_start)) return parse_v1(text);
  return bad("no-header");
}

// ---------------------------------------------------------------- writing

namespace {

/// An address as IPv6, mapped if need be, with what is needed to write it.
struct Written {
  in6_addr host{};
  in_port_t port = 0;  ///< network order
  bool v4() const { return IN6_IS_ADDR_V4MAPPED(&host); }
  const unsigned char* v4_bytes() const { return &host.s6_addr[12]; }
};

std::optional<Written> written(const sys::Address& address) {
  if (address.raw_size() == 0) return {};
  Written as{.port = htons(address.port())};
  if (address.raw()->sa_family == AF_INET6) {
    sockaddr_in6 raw{};
    std::memcpy(&raw, address.raw(), sizeof raw);
    as.host = raw.sin6_addr;
    return as;
  }
  sockaddr_in raw{};
  std::memcpy(&raw, address.raw(), sizeof raw);
  as.host.s6_addr[10] = as.host.s6_addr[11] = 0xff;
  std::memcpy(&as.host.s6_addr[12], &raw.sin_addr, sizeof raw.sin_addr);
  return as;
}

std::string_view write_v1(const Written& source, const Written& destination,
                          std::span<char, max_written_proxy_bytes> into) {
  std::array<char, INET6_ADDRSTRLEN> from{};
  std::array<char, INET6_ADDRSTRLEN> to{};
  const bool v4 = source.v4() && destination.v4();
  const auto as_text = [v4](const Written& address, std::array<char, INET6_ADDRSTRLEN>& text) {
    const void* const host = v4 ? address.v4_bytes() : address.host.s6_addr;
    PW_CHECK(::inet_ntop(v4 ? AF_INET : AF_INET6, host, text.data(), INET6_ADDRSTRLEN) != nullptr);
  };
  as_text(source, from);
  as_text(destination, to);
  const auto end =
      fmt::format_to_n(into.data(), into.size(), "PROXY {} {} {} {} {}\r\n", v4 ? "TCP4" : "TCP6",
                       from.data(), to.data(), ntohs(source.port), ntohs(destination.port));
  PW_CHECK(end.size <= into.size());
  return {into.data(), end.size};
}

/// The first 16 bytes; returns where the block begins.
char* write_v2_start(Command command, Family family, std::uint8_t block_bytes, char* into) {
  into = std::copy(v2_signature.begin(), v2_signature.end(), into);
  *into++ = static_cast<char>(command);
  *into++ = static_cast<char>(family);
  *into++ = 0;
  *into++ = static_cast<char>(block_bytes);
  return into;
}

std::string_view write_v2(const Written& source, const Written& destination,
                          std::span<char, max_written_proxy_bytes> into) {
  const bool v4 = source.v4() && destination.v4();
  const Family family = v4 ? Tcp4 : Tcp6;
  char* at =
      write_v2_start(Proxy, family, static_cast<std::uint8_t>(*address_bytes(family)), into.data());
  const std::size_t host_bytes = v4 ? sizeof(in_addr) : sizeof(in6_addr);
  for (const Written* address : {&source, &destination}) {
    std::memcpy(at, v4 ? address->v4_bytes() : address->host.s6_addr, host_bytes);
    at += host_bytes;
  }
  for (const Written* address : {&source, &destination}) {
    std::memcpy(at, &address->port, sizeof address->port);
    at += sizeof address->port;
  }
  return {into.data(), static_cast<std::size_t>(at - into.data())};
}

}  // namespace

std::string_view write_proxy_header(ProxyVersion version, const ProxyAddresses& addresses,
                                    std::span<char, max_written_proxy_bytes> into) {
  const std::optional<Written> source = written(addresses.source);
  const std::optional<Written> destination = written(addresses.destination);
  if (!source || !destination) return write_local_proxy_header(version, into);
  return version == ProxyVersion::V1 ? write_v1(*source, *destination, into)
                                     : write_v2(*source, *destination, into);
}

std::string_view write_local_proxy_header(ProxyVersion version,
                                          std::span<char, max_written_proxy_bytes> into) {
  if (version == ProxyVersion::V1) {
    constexpr std::string_view unknown = "PROXY UNKNOWN\r\n";
    return {into.data(), unknown.copy(into.data(), into.size())};
  }
  const char* const end = write_v2_start(Local, Unspecified, 0, into.data());
  return {into.data(), static_cast<std::size_t>(end - into.data())};
}

}  // namespace pagewire::relay
