// The PROXY protocol, versions 1 and 2: who the client of a relayed connection is.
//
// Pure functions over bytes. Source: HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.
// Strict: what the document does not allow is Bad, as early as it can be seen, so that a client
// that speaks something else is turned away at its first byte. TLVs must fit and are skipped.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "sys/socket.h"

namespace pagewire::relay {

enum class ProxyVersion : std::uint8_t { V1, V2 };

/// A line of version 1, with its CR LF.
inline constexpr std::size_t max_proxy_v1_bytes = 107;
/// A header of version 2 with its TLVs; the protocol allows 65,551, HAProxy takes 16 KiB as well.
inline constexpr std::size_t max_proxy_header_bytes = 16 * 1024;
/// What write_proxy_header() needs at most.
inline constexpr std::size_t max_written_proxy_bytes = 107;

struct ProxyAddresses {
  sys::Address source;
  sys::Address destination;
};

struct ProxyHeader {
  enum class Kind : std::uint8_t { NeedMore, Parsed, Bad };
  Kind kind = Kind::NeedMore;
  /// NeedMore: so many bytes are needed, as the first ones say; 0: they do not.
  std::size_t needed = 0;
  /// Parsed: no addresses came with it (LOCAL, UNKNOWN, a UNIX or datagram socket): those of the
  /// connection itself count.
  bool local = true;
  std::size_t length = 0;      ///< Parsed: what follows these bytes is the client's
  ProxyAddresses addresses{};  ///< Parsed and not local
  std::string_view why{};      ///< Bad: a fixed token
};

/// `bytes` are the first ones of the connection; all that have come, or at least
/// max_proxy_header_bytes of them.
ProxyHeader parse_proxy_header(std::span<const char> bytes);

/// Writes a header for TCP into `into`; returns the part that was written. Addresses of different
/// families are both written as IPv6 (RFC 4291, 2.5.5.2).
std::string_view write_proxy_header(ProxyVersion version, const ProxyAddresses& addresses,
                                    std::span<char, max_written_proxy_bytes> into);
/// The same for a connection that is nobody's but our own (a health check): UNKNOWN, LOCAL.
std::string_view write_local_proxy_header(ProxyVersion version,
                                          std::span<char, max_written_proxy_bytes> into);

}  // namespace pagewire::relay
