// What `pagewire serve` knows of the paths before it serves: probes, the self-test on ROOT's
// filesystem, and what of that the user must hear.
#pragma once

#include <string>
#include <vector>

#include "cli/assignment.h"
#include "cli/serve_options.h"

namespace pagewire::cli {

/// Where results of self-tests are kept: $XDG_CACHE_HOME/pagewire, for root /var/cache/pagewire,
/// else ~/.cache/pagewire; "" where none of them is known.
std::string cache_folder();

/// Fills settings.server.paths. Blocks, at most some 300 ms.
void test_paths(ServeSettings& settings);

/// Why the server must not start: --path names a path that cannot be used; "" when it may. Pure.
std::string why_pin_is_refused(const ServeSettings& settings);

/// A line for each path that failed the self-test. Pure.
std::vector<std::string> quarantine_lines(const egress::PathReports& reports);

}  // namespace pagewire::cli
