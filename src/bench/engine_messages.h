// What parent and children say to each other: requests of one byte, reports of one fixed size.
//
// Both ends are one program (fork without exec), so the layout of a struct is the same on both
// sides and goes over the socket as it lies in memory.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "bench/engine.h"

namespace pagewire::bench {

/// Parent to child: any byte asks for a sample. The end of the stream asks to end.
inline constexpr char sample_request = 's';

enum class ReportKind : std::uint32_t {
  Ready,     ///< server: `address` listens; client: asking has begun
  Sample,    ///< `server` or `client`
  Progress,  ///< verification: `verified_bytes` so far
  Verified,  ///< all of them were right
  Fault,     ///< `text`; the child goes on answering
};

struct ChildReport {
  ReportKind kind = ReportKind::Fault;
  sys::Address address;
  ServerSample server;
  ClientSample client;
  std::uint64_t verified_bytes = 0;
  std::array<char, 240> text{};  ///< cut off if need be, always with a zero at its end

  void set_text(std::string_view line) { line.copy(text.data(), text.size() - 1); }
};
static_assert(std::is_trivially_copyable_v<ChildReport>);

/// Child: tells the parent. One that has gone is no matter: this process goes with it.
void send_report(int control_fd, const ChildReport& report);
void send_fault(int control_fd, std::string_view text);

}  // namespace pagewire::bench
