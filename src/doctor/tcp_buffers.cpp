// tcp-buffers: how much one connection may have under way (net.ipv4.tcp_wmem and tcp_rmem).
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

constexpr std::uint64_t enough = 4 * mib;  // the kernel's default; 320 Mbit/s at 100 ms

/// "16 KiB, 4 MiB at most"
std::string text_of(const std::vector<std::uint64_t>& triple) {
  return fmt::format("{} KiB, up to {} KiB", triple[1] / kib, triple[2] / kib);
}

Finding run(Examination&) {
  constexpr std::string_view looked_at = "net.ipv4.tcp_wmem, tcp_rmem";
  const std::string folder = "/proc/sys/net/ipv4/";
  const auto send = parse_numbers(sys::first_line_of(folder + "tcp_wmem"));
  const auto receive = parse_numbers(sys::first_line_of(folder + "tcp_rmem"));
  if (send.size() != 3 || receive.size() != 3) return unread(looked_at, folder + "tcp_wmem");
  Finding finding{
      .looked_at = std::string(looked_at),
      .found = fmt::format("to send {}; to receive {}", text_of(send), text_of(receive))};
  if (send[2] >= enough) return finding;
  finding.status = Status::Warning;
  finding.costs = fmt::format("a connection with 100 ms of round trip gets at most {:.0f} Mbit/s",
                              static_cast<double>(send[2]) * 8 / 0.1 / 1e6);
  finding.mend = "sysctl -w net.ipv4.tcp_wmem=\"4096 16384 4194304\"";
  return finding;
}

}  // namespace

const Check tcp_buffers_check{.group = Group::Kernel, .name = "tcp-buffers", .run = run};

}  // namespace pagewire::doctor
