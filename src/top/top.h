// top: what a running pagewire does, from the /metrics of its admin listener.
//
// Knows the metrics by their names alone (docs/METRICS.md) and nothing of the server, so it may be
// of another version: what is not exported is not shown. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sys/socket.h"

namespace pagewire::top {

/// Where the metrics are.
struct Target {
  std::string host;  ///< a name or a number, without brackets
  std::string port;
  std::string path;
  std::string url;                      ///< as it is shown
  std::vector<sys::Address> addresses;  ///< that the host has; look_up() fills them in
};

/// "http://127.0.0.1:9180", with or without a path; "host:9180", ":9180", "9180". The error says
/// what is wrong with it.
tl::expected<Target, std::string> parse_target(std::string_view text);
/// May wait for a name server. The error says why not, in one line.
tl::expected<void, std::string> look_up(Target& target);

/// 0: done, or ended by the user or a signal; 1: what the error says.
using Outcome = tl::expected<void, std::string>;

struct Settings {
  Target target;
  std::int64_t interval_ms = 1'000;
};

enum class Format : std::uint8_t { Text, Json };
/// Reads twice, `interval_ms` apart, and appends what happened in between to `text`.
Outcome once(const Settings& settings, Format format, std::size_t columns, std::string& text);

/// On the terminal of standard input and output, until the user ends it. An error when there is no
/// terminal, or when the metrics cannot be had at the very start; later it says so and goes on.
Outcome watch(const Settings& settings);

}  // namespace pagewire::top
