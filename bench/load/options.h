// The load client's command line.
#pragma once

#include <getopt.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sys/socket.h"

namespace pagewire::bench {

struct Target {
  sys::Address address;
  std::string request;
};

struct Options {
  std::vector<Target> targets;  ///< connections are dealt out to them in turn
  std::size_t connections = 1;
  double seconds = 2;  ///< of the measured window; not used when `requests` is set
  double warm_up_seconds = 0.3;
  double rate = 0;  ///< requests a second of all connections together; 0: as fast as they can
  std::uint64_t requests = 0;               ///< stop after this many; 0: by time
  std::optional<std::uint64_t> size_bytes;  ///< unset: the first response's Content-Length
  bool verify = false;
  bool hold = false;
};

inline constexpr const char* usage_text =
    "usage: bench_load [flags] http://ADDR:PORT/PATH...\n"
    "  -c N             connections (1)\n"
    "  -t SECONDS       measured window (2)\n"
    "  -w SECONDS       warm-up before it (0.3)\n"
    "  -r RATE          requests a second, spread evenly over the connections, instead of each\n"
    "                   asking again at once; latency then counts from when one was due\n"
    "  -n N             stop after N requests instead of -t, without warm-up\n"
    "  -s, --size N     Content-Length that every response must have (that of the first)\n"
    "      --verify     read bodies and check that they are position-coded\n"
    "      --hold       after the result keep the connections until stdin ends\n";

namespace detail {

template <class T>
bool parse_number(std::string_view text, T& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc() && end == text.data() + text.size();
}

inline std::optional<Target> parse_target(std::string_view url) {
  constexpr std::string_view scheme = "http://";
  if (!url.starts_with(scheme)) return std::nullopt;
  url.remove_prefix(scheme.size());
  const std::size_t slash = url.find('/');
  if (slash == url.npos) return std::nullopt;
  const std::string_view authority = url.substr(0, slash);
  const Result<sys::Address> address = sys::Address::parse(authority);
  if (!address) return std::nullopt;
  return Target{*address, "GET " + std::string(url.substr(slash)) +
                              " HTTP/1.1\r\nHost: " + std::string(authority) + "\r\n\r\n"};
}

inline bool apply_flag(Options& options, int flag, std::string_view value) {
  switch (flag) {
    case 'c':
      return parse_number(value, options.connections) && options.connections > 0;
    case 't':
      return parse_number(value, options.seconds) && options.seconds > 0;
    case 'w':
      return parse_number(value, options.warm_up_seconds) && options.warm_up_seconds >= 0;
    case 'r':
      return parse_number(value, options.rate) && options.rate > 0;
    case 'n':
      return parse_number(value, options.requests) && options.requests > 0;
    case 's':
      return parse_number(value, options.size_bytes.emplace());
    case 'V':
      return options.verify = true;
    case 'H':
      return options.hold = true;
    default:
      return false;  // getopt has said what it does not know
  }
}

}  // namespace detail

/// nullopt after having said on stderr what is wrong.
inline std::optional<Options> parse_options(int argc, char** argv) {
  const option long_flags[] = {{"size", required_argument, nullptr, 's'},
                               {"verify", no_argument, nullptr, 'V'},
                               {"hold", no_argument, nullptr, 'H'},
                               {nullptr, 0, nullptr, 0}};
  Options options;
  for (;;) {
    const int flag = ::getopt_long(argc, argv, "c:t:w:r:n:s:", long_flags, nullptr);
    if (flag == -1) break;
    if (!detail::apply_flag(options, flag, optarg == nullptr ? "" : optarg)) {
      std::fputs(usage_text, stderr);
      return std::nullopt;
    }
  }
  for (int i = optind; i < argc; ++i) {
    const std::optional<Target> target = detail::parse_target(argv[i]);
    if (!target) {
      std::fprintf(stderr, "bench_load: %s: need http://ADDR:PORT/PATH, numeric\n", argv[i]);
      return std::nullopt;
    }
    options.targets.push_back(*target);
  }
  if (options.targets.empty()) {
    std::fputs(usage_text, stderr);
    return std::nullopt;
  }
  if (options.requests > 0) options.warm_up_seconds = 0;
  return options;
}

}  // namespace pagewire::bench
