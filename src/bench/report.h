// The values that a bench makes and that every format is written from: pure data, no I/O.
//
// A Report has rows (one workload each: what was sent, over how many connections), a row has
// contenders (a path, or a server of somebody else's), a contender has rounds, and a round has a
// figure for each metric. JSON has the same shape (docs/bench.schema.json).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bench/metric.h"

namespace pagewire::bench {

inline constexpr int schema_version = 1;

/// Where a figure comes from.
enum class Source : std::uint8_t {
  Measured,  ///< a counter of the kernel or the CPU
  Counted,   ///< by our own code, from what syscalls returned
  Modelled,  ///< arithmetic on the two
};
std::string_view name_of(Source source);

struct Bounds {
  double low = 0;
  double high = 0;
};

/// One metric of one round. Without a value it has a reason, always.
struct Figure {
  std::optional<double> value;
  Source source = Source::Measured;
  std::string reason;           ///< why there is no value; "" when there is one
  std::optional<Bounds> range;  ///< modelled: the value lies in it

  static Figure of(double value, Source source) { return {value, source, {}, {}}; }
  static Figure modelled(Bounds range) {
    return {(range.low + range.high) / 2, Source::Modelled, {}, range};
  }
  static Figure missing(std::string reason) { return {{}, {}, std::move(reason), {}}; }
};

struct Round {
  std::size_t number = 0;     ///< from 1, in the order of time over all contenders of the row
  bool instrumented = false;  ///< tracing and sampling were on: its CPU figures are not billed
  double seconds = 0;         ///< of the measured window
  std::string failed;         ///< why it has no figures: "the file shrank while it was sent"
  std::map<Metric, Figure> figures;
  // At an offered rate. In no format: a remark says them.
  std::uint64_t due_asks = 0;   ///< requests of the window
  std::uint64_t late_asks = 0;  ///< of them, those that could not go out in time
};

/// One metric over the rounds of a contender that have it.
struct Summary {
  std::optional<double> median;
  std::optional<double> mean;
  std::optional<Bounds> ci95;    ///< of the mean (Student's t); none with fewer than two rounds
  std::optional<Bounds> extent;  ///< least and most
  std::size_t rounds = 0;
  Source source = Source::Measured;
  std::string reason;           ///< why there is no median
  std::optional<Bounds> range;  ///< modelled figures: over all rounds
};

/// One contender in one row.
struct Contender {
  std::string name;                  ///< "sendfile"; "nginx"
  std::string unavailable;           ///< why it was not run at all; then there is no round
  std::uint64_t verified_bytes = 0;  ///< compared with the file, every byte, before the rounds
  std::vector<Round> rounds;
  std::map<Metric, Summary> summary;  ///< has every metric, once summarise() was called
};

struct Row {
  std::string title;  ///< "256 MiB x 4, stream"
  std::uint64_t size_bytes = 0;
  std::size_t connections = 0;
  std::string mode;                          ///< "stream" or "request"
  std::optional<double> offered_gbit_per_s;  ///< none: saturation
  std::string baseline;               ///< the contender that ratios are taken against: "copy"
  std::vector<Contender> contenders;  ///< in the order that they are shown
};

/// What every figure depends on besides the program. Unknown is "" (JSON null).
struct Environment {
  std::string date;  ///< RFC 3339, UTC
  std::string pagewire_version;
  std::vector<std::string> command_line;
  std::string kernel;
  std::string cpu_model;
  std::size_t cpus = 0;
  std::optional<bool> virtual_machine;
  std::string clock_source;
  std::string irq_time_accounting;  ///< "y", "n" or "" when the kernel does not tell
  std::string irq_time_meaning;     ///< one sentence: who is charged for softirqs
  std::string tick_cpu_accounting;
  std::string hz;
  std::optional<double> tsc_mhz;
  std::string hardware_counters;      ///< "available", or why not
  std::string filesystem;             ///< of the file: "ext4 on /dev/vda"
  std::string network;                ///< "loopback", "veth", "eth0 (virtio_net)"
  std::vector<std::string> offloads;  ///< "tx-checksumming on" ...; none where nothing can be seen
  std::optional<double> load_average;
  std::vector<std::string> notes;  ///< sentences that belong beside every figure
};

/// What BreakEven::reason says where a path never crosses copy: the chooser reads these two.
inline constexpr std::string_view cheaper_at_every_size = "cheaper at every size";
inline constexpr std::string_view dearer_at_every_size = "dearer at every size";

/// From which size on a path costs less CPU per byte than copy does (sweep).
struct BreakEven {
  std::string path;
  std::optional<double> size_bytes;  ///< none: see reason
  std::optional<Bounds> ci95;        ///< between the last size that is surely dearer and the first
                                     ///< that is surely cheaper; from 0 when dearer nowhere
  std::string reason;                ///< "cheaper at every size", "dearer at every size", ...
};

struct Report {
  std::string kind;  ///< "run", "sweep", "serve", "peers", "seed"
  std::string title;
  Environment environment;
  std::vector<std::pair<std::string, std::string>> settings;  ///< as the user would write them
  bool partial = false;
  std::string partial_reason;  ///< "interrupted (Ctrl-C) in round 3 of 5"
  std::vector<Row> rows;
  std::vector<BreakEven> break_evens;  ///< sweep only
  std::vector<std::string> remarks;    ///< what a reader should know: "client was the bottleneck"
};

/// The figures of one metric that count: of the billed rounds, and of the instrumented ones only
/// what nothing else can tell (system calls, the share of copying). Failed rounds have none.
std::vector<double> values_of(const Contender& contender, Metric metric);

/// Fills `summary` of every contender from the figures that count; a metric that none has gets the
/// reason of the last round.
void summarise(Report& report);

/// median of `contender` / median of the row's baseline; none where either is missing.
std::optional<double> ratio_to_baseline(const Row& row, const Contender& contender, Metric metric);

}  // namespace pagewire::bench
