// server: listeners, workers and connections: the straight line from accept to account.
//
// One thread a worker, each with its own listeners (SO_REUSEPORT), loop, site, pipe pool and
// counters. start() and the signals' calls below come from one controlling thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"
#include "content/content.h"
#include "egress/egress.h"
#include "http/http.h"
#include "log/log.h"
#include "loop/loop.h"
#include "metrics/metrics.h"
#include "service/service.h"
#include "sys/socket.h"
#include "tls/tls.h"

namespace pagewire::server {

struct Timeouts {
  std::int64_t head_ms = 10'000;         ///< from a head's first byte to its last: 408
  std::int64_t idle_ms = 60'000;         ///< between two requests, and before the first
  std::int64_t rate_window_ms = 60'000;  ///< how often min_rate is looked at
  std::int64_t linger_ms = 2'000;        ///< after the last answer: until the client closes
  std::int64_t release_ms = 10'000;      ///< after a connection's end: until the kernel lets go
  std::int64_t disk_ms = 120'000;        ///< for pages or a name: then the connection ends
};

struct Limits {
  std::size_t connections = 8'192;  ///< of all workers together; above: 503 and close
  std::size_t requests = 0;         ///< on one connection; 0 is any number
  ByteCount body{64 * kib};         ///< of a request, read and dropped; above: 413 and close
  ByteCount quantum{512 * kib};     ///< a connection's turn
  ByteCount unsent{256 * kib};      ///< queued in the kernel for one reader; 0: the kernel's limit
  std::uint64_t min_rate = 500;     ///< bytes per second a reader must take; 0 is off
  http::HeadLimits head;
};

struct Settings {
  std::vector<sys::Address> listen;
  std::vector<sys::Address> listen_tls;  ///< only with `tls`
  std::optional<tls::Settings> tls;      ///< none: no HTTPS
  std::size_t workers = 1;
  loop::Engine engine = loop::Engine::Auto;  ///< the workers'; the admin thread has epoll
  std::vector<int> pin;                      ///< CPU of each worker; empty: not pinned
  Timeouts timeouts;
  Limits limits;
  std::int64_t drain_timeout_ms = 30'000;
  std::size_t disk_threads = 4;  ///< that wait for the disk; 0: the workers do it themselves
  content::SiteSettings site;
  egress::ChooserSettings chooser;
  egress::PathReports paths;  ///< what probes and self-test said; empty: start() probes
  sys::PipePool::Limits pipes;
  egress::ZeroCopyLimits zero_copy;
  log::Settings access_log;
  bool admin_enabled = true;
  sys::Address admin;         ///< 127.0.0.1:9180 unless told
  std::string doctor_report;  ///< a file that the admin listener's page shows; "": none
};

class Server {
 public:
  Server();
  ~Server();

  /// Opens everything (listeners, ROOT, log, admin) and starts the threads. On failure nothing
  /// runs.
  tl::expected<void, service::StartError> start(const Settings& settings);

  /// The addresses in use, with the ports that the kernel chose for port 0.
  std::vector<sys::Address> addresses() const;
  std::vector<sys::Address> tls_addresses() const;
  sys::Address admin_address() const;

  /// Stops accepting, lets what is in flight finish, at most drain_timeout_ms. Returns when all
  /// worker threads have ended; true when nothing was cut off.
  bool drain();
  /// The same without waiting for the drain to end; ask drained() then.
  void begin_drain();
  bool drained() const;

  void reopen_logs();
  /// Reads the certificates anew; connections that come from now on get them, those that are there
  /// keep what they began with. Errors: as at start; then everybody keeps the old ones.
  tl::expected<void, service::StartError> reload_certificates();

  metrics::Totals totals() const;
  std::string metrics_text() const;
  /// What the workers' loops are, never Auto; and why Auto could not have what it prefers, or "".
  loop::Engine engine() const;
  std::string engine_note() const;

  struct Parts;  // private to the room
 private:
  std::unique_ptr<Parts> parts_;
};

}  // namespace pagewire::server
