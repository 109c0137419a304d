// log: the access log, written by a thread of its own.
//
// Each worker has a bounded queue that only it fills and only the writer empties; when it is full
// the line is dropped and counted: a slow or full log disk never slows a response.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace pagewire::log {

enum class Format : std::uint8_t { Combined, Json };

/// A string of at most N bytes, cut off where it does not fit. Plain data, no allocation.
template <std::size_t N>
struct ShortText {
  std::uint16_t size = 0;
  bool cut = false;
  std::array<char, N> bytes;

  void assign(std::string_view text) {
    cut = text.size() > N;
    size = static_cast<std::uint16_t>(cut ? N : text.size());
    text.copy(bytes.data(), size);
  }
  std::string_view view() const { return {bytes.data(), size}; }
};

/// What a request or a connection came in by, where that was TLS. Tokens with static lifetime.
struct TlsRecord {
  std::string_view version;           ///< "TLSv1.3"; "": it was plain
  std::string_view cipher;            ///< "TLS_AES_256_GCM_SHA384"
  std::string_view kernel;            ///< "none", "kernel", "kernel-nic"
  std::string_view kernel_reason;     ///< why it is none; else ""
  std::string_view receive{};         ///< "none", "kernel"; "": not asked for
  std::string_view receive_reason{};  ///< why it is none; else ""
};

/// One connection through a relay. Tokens have static lifetime.
struct TunnelRecord {
  bool is_one = false;            ///< false: the record is a request's
  std::uint16_t client_port = 0;  ///< of `peer`
  std::uint16_t tries = 0;        ///< upstreams that were connected to, or tried
  std::uint64_t up_bytes = 0;     ///< from the client, that the upstream's socket took
  std::uint64_t down_bytes = 0;
  std::int64_t connect_ns = 0;  ///< from the client's coming until an upstream was there
  std::int64_t queued_ns = 0;   ///< of that: waiting for an upstream below its limit
  std::string_view end;         ///< "done", "idle-timeout" ...
  ShortText<32> relay;
  ShortText<54> upstream;    ///< with its port; empty: there was none
  ShortText<46> proxied_by;  ///< who sent the PROXY header that `peer` is from; empty: none
};

/// One finished (or broken off) request. `path` and `reason` are tokens with static lifetime.
struct AccessRecord {
  std::int64_t realtime_ns = 0;  ///< when the head was complete
  std::int64_t duration_ns = 0;
  std::uint64_t bytes = 0;       ///< that the socket took, head included
  std::uint64_t body_bytes = 0;  ///< of them body
  std::uint16_t status = 0;
  bool http10 = false;
  bool complete = true;  ///< false: the connection ended before the body did
  std::string_view path;
  std::string_view reason;
  TlsRecord tls;
  TunnelRecord tunnel;  ///< where it is one: realtime_ns (when it came), duration_ns, complete,
                        ///< path, reason, tls and peer count, too, and nothing else
  ShortText<46> peer;
  ShortText<16> method;
  ShortText<256> target;
  ShortText<128> referer;
  ShortText<160> user_agent;
  ShortText<64> range;
};

struct Settings {
  std::string file;  ///< "-" is standard output; "" is no log
  Format format = Format::Combined;
  std::size_t queue_lines = 8192;  ///< per worker
  std::size_t workers = 1;
};

class AccessLog {
 public:
  /// Opens the file for appending (O_APPEND, 0644) and starts the thread. Error: as open(2).
  static Result<std::unique_ptr<AccessLog>> open(const Settings& settings);
  /// Writes what is queued, then stops.
  ~AccessLog();

  /// A new slot for a record of this worker, or nullptr when its queue is full (counted as
  /// dropped). Only from that worker's thread. Fill it, then commit().
  AccessRecord* begin(std::size_t worker);
  void commit(std::size_t worker);

  /// Lets the writer open the file anew (SIGHUP, after a rename). Any thread.
  void reopen();

  /// Lines that did not get written: queue full, or write errors (ENOSPC, EIO). Any thread.
  std::uint64_t dropped() const;

  struct Parts;  // private to the room
 private:
  explicit AccessLog(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

/// One line, with its newline. Control bytes and quotes in what the client sent are escaped.
/// Pure; `line` is overwritten.
void format_line(const AccessRecord& record, Format format, std::string& line);

}  // namespace pagewire::log
