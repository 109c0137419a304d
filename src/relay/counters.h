// Counters of one worker of a relay; its only writer is the worker.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "relay/pump.h"
#include "tls/tls.h"

namespace pagewire::relay {

/// How a tunnel ended.
enum class End : std::uint8_t {
  Done,         ///< both sides have sent their FIN, and it was passed on
  ClientReset,  ///< RST, or the network's word for it; passed on as RST
  UpstreamReset,
  ConnectFailed,  ///< no upstream could be reached
  NoUpstream,     ///< none is up
  QueueFull,      ///< all are full, and the queue as well
  QueueTimeout,
  IdleTimeout,
  HalfClosedTimeout,
  DrainTimeout,
  Internal,     ///< ENOMEM, EMFILE
  ProxyHeader,  ///< what came first is no PROXY header, or it ended before it was whole
  ProxyTimeout,
  Handshake,  ///< of TLS: it failed
  HandshakeTimeout,
  TlsTruncated,  ///< the client's FIN came without close_notify
  TlsFailed,     ///< a record that does not decrypt, an alert, a key that is worn ...
};
inline constexpr std::size_t tunnel_ends = 17;
std::string_view token(End end);

struct Counters {
  metrics::Counter open;       ///< clients now
  metrics::Counter connected;  ///< of them: with an upstream
  metrics::Counter accepted;
  metrics::Counter refused;  ///< the limit, or out of descriptors
  metrics::Counter accept_errors;
  metrics::Counter retries;
  metrics::Counter bytes_up;
  metrics::Counter bytes_down;
  metrics::Counter pipes_in_use;  ///< as of the last tick
  metrics::Counter pipes_idle;
  metrics::Counter log_dropped;
  PumpCounts pump;
  metrics::TlsMetrics tls;
  metrics::ThreadMetrics thread;  ///< as of the last tick
  std::array<metrics::Counter, tls::kernel_reasons> tls_receive;
  std::array<metrics::Counter, tunnel_ends> ends;
};

/// What the workers cannot know.
struct Facts {
  std::string_view version;
  bool splice_works = true;
  bool tls = false;  ///< some route has it
};

/// Prometheus text of the workers' sums.
std::string counters_text(const std::vector<const Counters*>& workers, const Facts& facts);

}  // namespace pagewire::relay
