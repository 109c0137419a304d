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

/// small_body from the break-even of sendfile, unless --small-body was given. Returns what deserves
/// a warning, a line each. Pure.
std::vector<std::string> apply_calibration(const bench::Calibration& calibration, const Host& here,
                                           ServeSettings& settings);

/// Reads settings.calibration_file and applies it.
OrUsageError<std::vector<std::string>> load_calibration(ServeSettings& settings);

}  // namespace pagewire::cli
