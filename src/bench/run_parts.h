// What run() and sweep() have in common. For the two alone.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "bench/contest.h"
#include "bench/report.h"
#include "bench/workload.h"

namespace pagewire::bench {

/// What no run can be made of, as one line; "" when all is well.
std::string what_is_wrong(const RunSettings& settings);

/// A name on the filesystem of the file that is sent.
std::string place_of(const RunSettings& settings);

/// As the user would write them, with what was left to defaults.
std::vector<std::pair<std::string, std::string>> settings_of(const RunSettings& settings);

/// Summaries, remarks, and whether it is all that was asked for.
void finish_report(const Contest& contest, Report& report);

}  // namespace pagewire::bench
