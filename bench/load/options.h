// The load clients' command line.
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

/// Which of the clients is asked: bench_load or bench_load_tls.
enum class Scheme { Http, Https };

enum class Handshakes { None, Full, Resumed };

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
  // Of TLS alone.
  std::string suite = "TLS_AES_256_GCM_SHA384";
  std::optional<std::size_t> sample;
  Handshakes handshakes = Handshakes::None;
};

inline constexpr const char* usage_text =
    "usage: bench_load [flags] http://ADDR:PORT/PATH...\n"
    "       bench_load_tls [flags] https://ADDR:PORT/PATH...\n"
    "  -c N             connections (1)\n"
    "  -t SECONDS       measured window (2)\n"
    "  -w SECONDS       warm-up before it (0.3)\n"
    "  -r RATE          requests a second, spread evenly over the connections, instead of each\n"
    "                   asking again at once; latency then counts from when one was due\n"
    "  -n N             stop after N requests instead of -t, without warm-up\n"
    "  -s, --size N     Content-Length that every response must have (that of the first)\n"
    "      --verify     read bodies and check that they are position-coded\n"
    "      --hold       after the result keep the connections until stdin ends\n"
    "TLS 1.3 only:\n"
    "      --suite S    the one cipher suite that is offered (TLS_AES_256_GCM_SHA384)\n"
    "      --sample N   decrypt and verify on the first N connections, and every connection's "
    "first\n"
    "                   answer; else count the records, which says how long the bodies are\n"
    "      --full       connect, make a handshake, close, and again; no request\n"
    "      --resumed    the same, resumed by a ticket\n";

namespace detail {

template <class T>
bool parse_number(std::string_view text, T& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc() && end == text.data() + text.size();
}

inline std::optional<Target> parse_target(std::string_view url, std::string_view scheme) {
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
    case 'S':
      options.suite = value;
      return !value.empty();
    case 'N':
      return parse_number(value, options.sample.emplace());
    case 'F':
      options.handshakes = Handshakes::Full;
      return true;
    case 'R':
      options.handshakes = Handshakes::Resumed;
      return true;
    default:
      return false;  // getopt has said what it does not know
  }
}

}  // namespace detail

/// nullopt after having said on stderr what is wrong.
inline std::optional<Options> parse_options(int argc, char** argv, Scheme scheme) {
  constexpr option end{nullptr, 0, nullptr, 0};
  const bool tls = scheme == Scheme::Https;
  const option long_flags[] = {{"size", required_argument, nullptr, 's'},
                               {"verify", no_argument, nullptr, 'V'},
                               {"hold", no_argument, nullptr, 'H'},
                               tls ? option{"suite", required_argument, nullptr, 'S'} : end,
                               {"sample", required_argument, nullptr, 'N'},
                               {"full", no_argument, nullptr, 'F'},
                               {"resumed", no_argument, nullptr, 'R'},
                               end};
  const char* prefix = tls ? "https://" : "http://";
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
    const std::optional<Target> target = detail::parse_target(argv[i], prefix);
    if (!target) {
      std::fprintf(stderr, "%s: need %sADDR:PORT/PATH, numeric\n", argv[i], prefix);
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
