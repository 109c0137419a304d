// relay: TCP connections passed on to upstreams, in the kernel where they are worth it.
//
// One thread a worker, each with its own listeners (SO_REUSEPORT), epoll loop, pipe pool, buffer
// and counters. start() and the signals' calls below come from one controlling thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log/log.h"
#include "metrics/metrics.h"
#include "relay/mirror.h"
#include "relay/mirror_reader.h"
#include "relay/proxy_protocol.h"
#include "relay/pump.h"
#include "relay/resolver.h"
#include "relay/upstreams.h"
#include "service/service.h"
#include "sys/socket.h"
#include "tls/tls.h"

namespace pagewire::relay {

inline constexpr std::size_t max_retries = Attempt::max_tries - 1;

/// HOST:PORT, where HOST is a name or an address ("[::1]:80"). Nothing is looked up. The reason it
/// is none, for the user.
struct UpstreamName {
  ResolverName name;  ///< where `address` is none
  std::optional<sys::Address> address{};
};
tl::expected<UpstreamName, std::string> parse_upstream(std::string_view text);

/// One [[relay]]: from its listeners to its upstreams.
struct Route {
  std::string name = "relay";
  std::vector<sys::Address> listen;
  std::vector<std::string> to;  ///< HOST:PORT
  Balance balance = Balance::RoundRobin;
  Path path = Path::Auto;
  Mirror::Settings mirror;   ///< its target "": none; its workers are those of Settings
  bool transparent = false;  ///< upstreams see the client's address (IP_TRANSPARENT)
  std::size_t max_upstream_connections =
      0;                          ///< of each address; above, clients queue; 0: any number
  std::size_t max_queue = 1'024;  ///< of them; above, they are reset
  /// After the first try, before the client's first byte is read: on upstreams that this client has
  /// not tried; once there is none, on all again, a second later. At most max_retries.
  std::size_t retries = 3;
  std::int64_t connect_timeout_ms = 5'000;  ///< of one try
  std::int64_t queue_timeout_ms = 10'000;
  std::int64_t idle_timeout_ms = 600'000;        ///< without a byte in either direction
  std::int64_t half_closed_timeout_ms = 60'000;  ///< the same, once one side has sent its FIN

  bool accept_proxy = false;                 ///< clients begin with a PROXY header
  std::int64_t header_timeout_ms = 5'000;    ///< until it is whole
  std::optional<ProxyVersion> send_proxy{};  ///< upstreams are sent one

  /// With a chain clients speak TLS, and upstreams are sent what it holds. `tls.certificates` is
  /// made from it.
  tls::CertificateFiles certificate{};
  tls::Settings tls{.http_alpn = false};
  bool has_tls() const { return !certificate.chain.empty(); }

  bool check = false;  ///< upstreams are connected to now and then (relay/health.h)
  std::int64_t check_interval_ms = 2'000;
  std::int64_t check_timeout_ms = 2'000;
  std::size_t rise = 2;
  std::size_t fall = 3;

  std::int64_t resolve_interval_ms = 10'000;  ///< names are looked up again; 0: only at start
  std::int64_t resolve_timeout_ms = 5'000;    ///< of the first look-up, which start() waits for
};

struct Settings {
  std::vector<Route> routes;
  std::size_t workers = 1;
  std::vector<int> pin;  ///< CPU of each worker; empty: not pinned
  std::size_t connections =
      16'384;                 ///< clients of all workers together; above: closed as they come
  std::size_t pipes = 4'096;  ///< in use at once, of a worker; above: copy
  sys::PipePool::Limits pipe_pool{.idle = 64, .capacity = ByteCount{512 * kib}};
  /// After a round that spliced a turn's share a worker pauses for so long, at most 10 ms, so that
  /// bytes gather (loop::Loop::coalesce()); others of its connections wait as well. 0: never.
  std::size_t coalesce_us = 50;
  sys::KeepAlive keep_alive;  ///< idle_s 0: none
  /// TCP_USER_TIMEOUT, both sides; 0: the kernel's own. It counts a closed window as well, so below
  /// the idle timeout it would end readers that only pause.
  std::int64_t user_timeout_ms = 600'000;
  std::int64_t drain_timeout_ms = 30'000;
  log::Settings access_log;
  bool admin_enabled = true;
  sys::Address admin;  ///< 127.0.0.1:9181 unless told
  /// Called on any thread: one line for the user about upstreams that went, came or moved.
  std::function<void(const std::string& line)> tell{};
};

/// Whether splice(2) between two TCP sockets of this machine works and moves what it should: some
/// bytes are sent through. "" or why not.
std::string probe_splice();

class Relay {
 public:
  Relay();
  ~Relay();

  /// Opens everything (listeners, log, admin), finds the upstreams and starts the threads. On
  /// failure nothing runs.
  tl::expected<void, service::StartError> start(const Settings& settings);

  /// What each route listens on, with the ports that the kernel chose for port 0.
  std::vector<std::vector<sys::Address>> addresses() const;
  /// The first file of each route's mirror, or its recorder; "" without one.
  std::vector<std::string> mirrors() const;
  sys::Address admin_address() const;
  /// Why `auto` copies everything; "" where it does not.
  std::string splice_note() const;

  /// Stops accepting; connections go on until they end, at most drain_timeout_ms.
  void begin_drain();
  bool drained() const;
  /// Waits for that; true when nothing was cut off.
  bool drain();

  void reopen_logs();
  bool has_tls() const;
  /// Reads the certificates of all routes anew, for new connections. On failure every one stays as
  /// it was.
  tl::expected<void, service::StartError> reload_certificates();

  metrics::Totals totals() const;  ///< `requests` are connections
  std::string metrics_text() const;

  struct Parts;  // private to the room
 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace pagewire::relay
