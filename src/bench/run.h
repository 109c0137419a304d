// `bench run` and `bench sweep`: contenders in turns, each round in processes of its own.
#pragma once

#include <string>

#include <tl/expected.hpp>

#include "bench/report.h"
#include "bench/watch.h"
#include "bench/workload.h"

namespace pagewire::bench {

/// Why nothing could be measured at all, as one line: "--net veth: unshare: Operation not
/// permitted (needs root)".
struct CannotRun {
  std::string text;
};

/// Rounds of all paths, interleaved and rotated. What goes wrong in a round is in the report and
/// said through `watch`; a stop or a fault that ends the run gives a report marked partial.
/// The caller fills environment.command_line and pagewire_version.
tl::expected<Report, CannotRun> run(const RunSettings& settings, Watch& watch);

/// Requests of each size by each path; break-evens against copy.
tl::expected<Report, CannotRun> sweep(const SweepSettings& settings, Watch& watch);

/// 1 KiB to 64 MiB, powers of four... with those between where break-evens are expected.
std::vector<ByteCount> default_sweep_sizes();

/// Pure: the break-even of each path against the rows' baseline.
std::vector<BreakEven> find_break_evens(const std::vector<Row>& rows);

}  // namespace pagewire::bench
