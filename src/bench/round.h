// One round: a server and a client of their own, a warm-up, and one measured window.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "bench/engine.h"
#include "bench/meter.h"
#include "bench/report.h"
#include "bench/source_file.h"
#include "bench/workload.h"

namespace pagewire::bench {

struct RoundPlan {
  const SourceFile* source = nullptr;
  const egress::Path* path = nullptr;
  const Network* network = nullptr;
  const RunSettings* settings = nullptr;
  Instruments::Kind instruments = Instruments::Kind::Counters;
  std::optional<double> tsc_hz;
};

/// Told now and then how many seconds of the round have passed; true ends it.
using RoundTick = std::function<bool(double elapsed_s)>;

/// How long a round takes: warm-up and window.
double seconds_of_round(const RunSettings& settings);

/// nullopt when the tick ended it: half a round is not a figure. A fault gives a round with
/// `failed` and no figures. No process is left in either case.
std::optional<Round> measure_round(const RoundPlan& plan, const RoundTick& tick);

/// Sends the file once by the path and compares every byte. Returns how many were compared.
OrFault<std::uint64_t> verify_path(const RoundPlan& plan, const StopAsked& stop_asked);

}  // namespace pagewire::bench
