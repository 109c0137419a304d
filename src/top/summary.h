// What happened between two readings of the metrics. Pure. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "top/exposition.h"

namespace pagewire::top {

struct Reading {
  Exposition metrics{};
  std::int64_t at_ns = 0;  ///< CLOCK_MONOTONIC, when they came
};

/// A name and how much of something it has.
using Share = std::pair<std::string, double>;

struct WorkerRow {
  std::string name{};
  double gbit = 0;                  ///< a second, as all of these; of a relay both ways
  std::optional<double> gbit_up{};  ///< of a relay
  std::optional<double> gbit_down{};
  double requests = 0;                  ///< of a relay: connections accepted
  std::optional<double> connections{};  ///< now
  std::optional<double> user{};         ///< of one CPU, 1 is all of it
  std::optional<double> system{};
  std::optional<double> events_per_wakeup{};
};

struct PathRow {
  std::string name{};
  double share = 0;  ///< of all bytes
  double gbit = 0;
  double responses = 0;  ///< none of a relay
  std::optional<double> bytes_per_call{};
  std::vector<Share> reasons{};  ///< of the responses, the most frequent first
};

/// One address of an upstream.
struct UpstreamRow {
  std::string upstream{};  ///< as --to says
  std::string address{};
  std::optional<bool> up{};
  std::optional<double> connections{};  ///< now
  double connects = 0;                  ///< tries, a second
  std::vector<Share> failures{};        ///< of them a second, by the reason
};

struct MirrorRow {
  double gbit = 0;  ///< written a second, as all of these
  double dropped_bytes = 0;
  double dropped_records = 0;
  double gaps = 0;
  double failures = 0;
};

/// One [[relay]].
struct RouteRow {
  std::string name{};
  std::optional<double> queued{};  ///< clients that wait now
  double lookup_failures = 0;      ///< a second
  std::optional<MirrorRow> mirror{};
  std::vector<UpstreamRow> upstreams{};
};

struct RelaySummary {
  double gbit_up = 0;
  double gbit_down = 0;
  std::optional<double> tunnels{};  ///< connections that have their upstream
  std::optional<double> pipes_in_use{};
  std::optional<double> pipes_idle{};
  std::optional<bool> splice_usable{};
  double retries = 0;             ///< a second, as all of these
  std::vector<Share> switches{};  ///< of directions, by the reason for the new path
  std::vector<Share> ends{};      ///< of connections, by how
  std::vector<RouteRow> routes{};
};

/// Absent: not exported, or nothing happened that it could be told from.
struct Summary {
  double seconds = 0;
  std::string version{};
  std::string engine{};
  std::optional<double> up_s{};
  double gbit = 0;
  double requests = 0;  ///< of a relay: connections accepted
  std::optional<double> connections{};
  std::optional<double> cpu{};  ///< of one CPU, all threads
  std::optional<double> cpu_ms_per_gbit{};
  std::optional<double> p50_ms{};
  std::optional<double> p99_ms{};
  double cold_waits = 0;
  std::optional<double> cold_wait_ms{};   ///< on average
  std::optional<double> ktls{};           ///< share of the TLS connections since the start
  std::optional<double> retransmitted{};  ///< share of the segments that this machine sent
  std::vector<Share> errors{};  ///< a second, the most frequent first; of a relay without its ends
  std::vector<WorkerRow> workers{};
  std::vector<PathRow> paths{};         ///< those that sent something
  std::optional<RelaySummary> relay{};  ///< of a relay; absent: of serve
};

/// Whether `after` is of another run of the server than `before`: it started later, or something
/// that only ever grows is smaller.
bool restarted(const Reading& before, const Reading& after);

/// Of one run of the server; `now_s` is CLOCK_REALTIME.
Summary summarize(const Reading& before, const Reading& after, double now_s);

/// From the buckets of a histogram, `before` taken off, linear within a bucket; absent when nothing
/// was counted. In the histogram's unit.
std::optional<double> quantile(const Reading& before, const Reading& after, std::string_view name,
                               double share);

}  // namespace pagewire::top
