// `pagewire serve --calibration`: what `bench sweep --save` found, for the chooser.
#pragma once

#include <string>
#include <vector>

#include "bench/bench.h"
#include "cli/assignment.h"
#include "cli/serve_options.h"

namespace pagewire::cli {

struct Host {
  std::string kernel;
  std::string cpu_model;
};

struct CalibrationUse {
  std::string taken;                  ///< one line: what the chooser has from it
  std::vector<std::string> warnings;  ///< a line each
};

/// An interval wider than this share of its mean says too little to choose by.
inline constexpr double widest_interval = 0.5;

/// Into the chooser's settings: small_body from the break-even of sendfile, unless --small-body was
/// given; and the costs whose interval is worth using (with --small-body only of bodies above it,
/// because that is what its user asked for). Pure.
CalibrationUse apply_calibration(const bench::Calibration& calibration, const Host& here,
                                 ServeSettings& settings);

/// Reads settings.calibration_file and applies it; the warnings.
OrUsageError<std::vector<std::string>> load_calibration(ServeSettings& settings);

}  // namespace pagewire::cli
