// From the flags of bench's commands to settings that are whole. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "cli/bench_options.h"
#include "cli/flags.h"
#include "cli/machine.h"

namespace pagewire::cli {

OrUsageError<MeasureSettings> build_run(const Flags& flags, const Machine& machine);
OrUsageError<MeasureSettings> build_sweep(const Flags& flags, const Machine& machine);
OrUsageError<ReportSettings> build_report(const Flags& flags);
OrUsageError<CompareSettings> build_compare(const Flags& flags);
OrUsageError<bench::SinkSettings> build_sink(const Flags& flags);

/// `zc_path` is what ZC_PATH in the environment says; not looked at when --path is given.
OrUsageError<bench::SendSettings> build_send(const Flags& flags,
                                             const std::optional<std::string>& zc_path);

/// What `pagewire bench` alone does: every path, in well under 60 s however many there are.
MeasureSettings quick_run(std::size_t paths, const Machine& machine);

}  // namespace pagewire::cli
