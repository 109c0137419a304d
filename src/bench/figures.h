// From two samples of everything to the figures of a round. Pure.
#pragma once

#include <map>
#include <optional>

#include "bench/engine.h"
#include "bench/meter.h"
#include "bench/report.h"
#include "bench/workload.h"

namespace pagewire::bench {

/// Everything that was sampled when a window opened or closed.
struct Moment {
  MeterSample meter;
  ServerSample server;
  ClientSample client;
};

/// What the perf events said of the window; as Instruments' figures.
struct Counts {
  Figure cycles;
  Figure llc_load_misses;
  Figure syscalls;            ///< missing in rounds that are not instrumented
  Figure copy_share_percent;  ///< likewise
};

struct Window {
  Moment opened;
  Moment closed;
  Counts counts;
  Mode mode = Mode::Stream;
  std::optional<double> tsc_hz;  ///< where cycles were not counted
};

/// Every metric, each with a value or a reason. Rates are taken over each sample's own interval.
std::map<Metric, Figure> figures_of(const Window& window);

}  // namespace pagewire::bench
