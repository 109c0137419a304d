// Limits and timeouts.
//
// Every entry reads and shows one member of ServeSettings; bounds are here, so that no other room
// has to doubt what it is given.
#include "cli/serve_option_groups.h"
#include "cli/values.h"

namespace pagewire::cli {

namespace {

using Kind = OptionFacts::Kind;

ServeOption min_rate_option() {
  ServeOption option = Make::size(
      {.name = "min-rate",
       .group = "Timeouts",
       .placeholder = "SIZE",
       .help = "bytes per second that a reader must take, looked at every "
               "--rate-window; slower ones are cut off. 0 is off"},
      {.least = 0, .most = gib}, [](auto& s) -> auto& { return s.server.limits.min_rate; });
  option.takes = "bytes per second, such as 500 or 16K, at most 1G; 0 is off";
  return option;
}

}  // namespace

void add_limits(std::vector<ServeOption>& table) {
  constexpr std::string_view group = "Limits";
  table.push_back(Make::number(
      {.name = "max-connections",
       .group = group,
       .placeholder = "N",
       .help = "of all workers together; above it the answer is 503"},
      {.least = 1, .most = 10'000'000},
      [](auto& s) -> auto& { return s.server.limits.connections; }));
  table.push_back(Make::number(
      {.name = "max-requests",
       .group = group,
       .placeholder = "N",
       .help = "on one connection; 0 is any number"},
      {.least = 0, .most = 1'000'000'000},
      [](auto& s) -> auto& { return s.server.limits.requests; }));
  table.push_back(Make::size(
      {.name = "max-body",
       .group = group,
       .placeholder = "SIZE",
       .help = "of a request, read and dropped; above it 413"},
      {.least = 0, .most = gib}, [](auto& s) -> auto& { return s.server.limits.body; }));
  table.push_back(Make::size(
      {.name = "max-head",
       .group = group,
       .placeholder = "SIZE",
       .help = "request line and fields; above it 431"},
      {.least = 512, .most = mib},
      [](auto& s) -> auto& { return s.server.limits.head.head_bytes; }));
  table.push_back(Make::size(
      {.name = "max-target",
       .group = group,
       .placeholder = "SIZE",
       .help = "the request target; above it 414"},
      {.least = 64, .most = mib},
      [](auto& s) -> auto& { return s.server.limits.head.target_bytes; }));
  table.push_back(Make::number(
      {.name = "max-fields",
       .group = group,
       .placeholder = "N",
       .help = "header fields of a request; above it 431"},
      {.least = 1, .most = 10'000}, [](auto& s) -> auto& { return s.server.limits.head.fields; }));
  table.push_back(Make::number(
      {.name = "max-ranges",
       .group = group,
       .placeholder = "N",
       .help = "parts of one answer; above it the whole file is sent"},
      {.least = 1, .most = http::RangeSelection::max_parts},
      [](auto& s) -> auto& { return s.server.site.ranges.parts; }));
  table.push_back(Make::number(
      {.name = "max-range-specs",
       .group = group,
       .placeholder = "N",
       .help = "ranges in one request; above it 416"},
      {.least = 1, .most = 1'000}, [](auto& s) -> auto& { return s.server.site.ranges.specs; }));
}

void add_timeouts(std::vector<ServeOption>& table) {
  constexpr std::string_view group = "Timeouts";
  constexpr DurationBounds not_zero{.least_ms = 100};
  table.push_back(Make::duration(
      {.name = "head-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "from a request head's first byte to its last"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.head_ms; }));
  table.push_back(Make::duration(
      {.name = "idle-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "between two requests, and before the first"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.idle_ms; }));
  table.push_back(min_rate_option());
  table.push_back(Make::duration(
      {.name = "rate-window",
       .group = group,
       .placeholder = "TIME",
       .help = "how often --min-rate is looked at"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.rate_window_ms; }));
  table.push_back(Make::duration(
      {.name = "linger-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "after the last answer: for the client to close, too"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.timeouts.linger_ms; }));
  table.push_back(Make::duration(
      {.name = "release-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "after a connection's end: for the kernel to let go of what zerocopy sent"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.timeouts.release_ms; }));
  table.push_back(Make::duration(
      {.name = "disk-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "for a disk helper to find a file or to read its next bytes"},
      not_zero, [](auto& s) -> auto& { return s.server.timeouts.disk_ms; }));
  table.push_back(Make::duration(
      {.name = "drain-timeout",
       .group = group,
       .placeholder = "TIME",
       .help = "after SIGTERM or SIGINT: for what is still being sent"},
      {.least_ms = 0}, [](auto& s) -> auto& { return s.server.drain_timeout_ms; }));
}

}  // namespace pagewire::cli
