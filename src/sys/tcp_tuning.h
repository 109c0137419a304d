// What a test may ask of a TCP connection (tcp(7), socket(7), ip(7)), and when it was last heard
// of.
#pragma once

#include <string>

#include "base/result.h"
#include "base/units.h"

namespace pagewire::sys {

/// SO_SNDBUF. Returns what the kernel made of it: twice as much, for its own book-keeping, and no
/// more than net.core.wmem_max allows (socket(7)). The buffer no longer grows by itself then.
Result<ByteCount> set_send_buffer(int fd, ByteCount wanted);

/// TCP_CONGESTION: "cubic", "bbr". Errors: ENOENT (no such algorithm here), EPERM (not for this
/// user: net.ipv4.tcp_allowed_congestion_control).
Result<void> set_congestion(int fd, const std::string& name);
Result<std::string> congestion_of(int fd);
/// For a socket that talks to this machine alone, connected or not, or a listener: takes reno
/// instead of BBR where that is the system's default. BBR paces: without the fq qdisc, which
/// loopback does not have, each 64 KiB wait for a timer of their own, and a transfer of 6 MiB costs
/// five times as much CPU. Nothing is lost on loopback that pacing could save. Where it cannot be
/// had (net.ipv4.tcp_allowed_congestion_control) all stays as it was.
void leave_unpaced(int fd);
inline constexpr const char* paced_congestion = "bbr";
inline constexpr const char* unpaced_congestion = "reno";

/// The byte of DSCP and ECN in each IP header: IP_TOS, and IPV6_TCLASS where the socket has it.
Result<void> set_type_of_service(int fd, int value);

/// SO_MAX_PACING_RATE: the kernel spreads the packets over time. Errors: ENOPROTOOPT.
Result<void> limit_pacing_rate(int fd, std::uint64_t bytes_per_s);

/// Milliseconds since the peer last acknowledged something (TCP_INFO), in the kernel's ticks; also
/// of a connection that is closing.
Result<std::int64_t> ms_since_last_ack(int fd);

}  // namespace pagewire::sys
