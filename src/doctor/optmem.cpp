// optmem: what a socket may hold for MSG_ZEROCOPY's completions (net.core.optmem_max).
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

// The default of older kernels (6.1); newer ones have 128 KiB. A send takes some hundred bytes
// until it completes.
constexpr std::uint64_t enough = 20 * 1024;

Finding run(Examination&) {
  constexpr std::string_view looked_at = "net.core.optmem_max";
  const std::string file = "/proc/sys/net/core/optmem_max";
  const std::optional<std::uint64_t> bytes = parse_number(sys::first_line_of(file));
  if (!bytes) return unread(looked_at, file);
  Finding finding{.looked_at = std::string(looked_at), .found = fmt::format("{} bytes", *bytes)};
  if (*bytes >= enough) return finding;
  finding.status = Status::Warning;
  finding.costs = "sends with MSG_ZEROCOPY fail with ENOBUFS and are copied";
  finding.mend = "sysctl -w net.core.optmem_max=131072";
  return finding;
}

}  // namespace

const Check optmem_check{.group = Group::Kernel, .name = "optmem", .run = run};

}  // namespace pagewire::doctor
