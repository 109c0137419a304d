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
  double gbit = 0;  ///< a second, as all of these
  double requests = 0;
  std::optional<double> connections{};  ///< now
  double user = 0;                      ///< of one CPU, 1 is all of it
  double system = 0;
  std::optional<double> events_per_wakeup{};
};

struct PathRow {
  std::string name{};
  double share = 0;  ///< of all bytes
  double gbit = 0;
  double responses = 0;
  std::optional<double> bytes_per_call{};
  std::vector<Share> reasons{};  ///< of the responses, the most frequent first
};

struct RelayRow {
  std::string name{};  ///< what it counts, without "pagewire_relay_"
  double value = 0;
  bool per_second = false;  ///< a counter's; else a gauge's
};

enum class Program : std::uint8_t { Serve, Relay };

/// Absent: not exported, or nothing happened that it could be told from.
struct Summary {
  Program program = Program::Serve;
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
  std::vector<Share> errors{};            ///< a second, the most frequent first
  std::vector<WorkerRow> workers{};
  std::vector<PathRow> paths{};  ///< those that sent something
  std::vector<RelayRow> relay{};
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
