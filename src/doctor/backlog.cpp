// backlog: how many connections may wait to be accepted (net.core.somaxconn).
#include <fmt/format.h>

#include "doctor/registry.h"
#include "sys/socket.h"
#include "sys/text_file.h"

namespace pagewire::doctor {

namespace {

Finding run(Examination&) {
  constexpr std::string_view looked_at = "net.core.somaxconn";
  const std::string file = "/proc/sys/net/core/somaxconn";
  const std::optional<std::uint64_t> limit = parse_number(sys::first_line_of(file));
  if (!limit) return unread(looked_at, file);
  const auto wanted = static_cast<std::uint64_t>(sys::ListenOptions{}.backlog);
  Finding finding{.looked_at = std::string(looked_at),
                  .found = fmt::format("{} connections may wait for each worker", *limit)};
  if (*limit >= wanted) return finding;
  finding.status = Status::Warning;
  finding.costs = "in a wave of new clients those beyond it wait a second for their next try";
  finding.mend = fmt::format("sysctl -w net.core.somaxconn={}", wanted);
  return finding;
}

}  // namespace

const Check backlog_check{.group = Group::Kernel, .name = "backlog", .run = run};

}  // namespace pagewire::doctor
