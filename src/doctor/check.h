// A check, and what checks share; private to the room.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "doctor/doctor.h"
#include "doctor/measure.h"
#include "doctor/parse.h"
#include "sys/fd.h"
#include "sys/kernel_config.h"
#include "sys/network_card.h"

namespace pagewire::doctor {

struct Interface {
  std::string name;
  std::string queueing{};  ///< its queueing discipline; "": not told
};

/// What a run knows by now: a check may read all of it, and writes what it alone finds out.
struct Examination {
  const Settings& settings;
  Measured measured{};
  KernelVersion kernel{};
  std::optional<sys::KernelConfig> config{};
  bool is_root = false;
  /// A file of ROOT's filesystem without a name, sample_bytes long; closed where there is none.
  sys::Fd sample{};
  std::string no_sample{};  ///< why not
  std::optional<CpuTimes> cpu_times_before{};

  /// What stands before /proc and /sys: "", but in tests, which bring machines of their own.
  std::string system_root{};

  std::vector<Interface> interfaces{};  ///< that are looked at; cards before lo
  std::string interface {};             ///< that the checks of Network are about now
  sys::NetworkCard card{};              ///< and what it says

  egress::PathReports paths{};           ///< by the check "paths"
  bool kernel_tls = false;               ///< by "kernel-tls": for AES-128-GCM of TLS 1.3
  std::optional<bool> kernel_rekeys{};   ///< likewise; absent: there is no kernel TLS
  std::string engine{"epoll"};           ///< by "io-uring": what serve takes
  std::optional<double> cold_read_ms{};  ///< by "cold-reads"
  bool sees_cold_pages = false;          ///< by "cachestat" or "rwf-nowait"
  /// By "scatter-gather" and "checksum": those on which the kernel copies what it was lent.
  std::vector<std::string> bare_interfaces{};
};

inline constexpr std::size_t sample_bytes = 4 * mib;

struct Check {
  Group group = Group::Kernel;
  std::string_view name;  ///< also the anchor in docs/DOCTOR.md
  Finding (*run)(Examination& examination);
  bool of_a_card = false;  ///< of Network: there is nothing to say of loopback
};

/// In the order that they are run and shown.
std::span<const Check* const> checks();

/// Whether the interface that is looked at now stands for a device of its own: lo, veth, bridges
/// and tunnels do not, and hand over to another interface or to nobody.
bool is_device(const Examination& examination);

/// Of a file of /proc or /sys: its first line, or "".
std::string first_line(const Examination& examination, const std::string& file);

/// Why a file of /proc or /sys could not be read, for Unknown.
Finding unread(std::string_view looked_at, const std::string& file);

/// "12 to 25 ms of CPU for each Gbit"
std::string text_of(const Cost& cost);

/// What the kernel said of a call: "ENOSYS (Function not implemented)".
std::string errno_text(int errno_value);

}  // namespace pagewire::doctor
