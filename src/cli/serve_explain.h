// `pagewire serve ROOT --explain /some/file`: what a GET of it would be sent by, and why, without
// serving.
#pragma once

#include "cli/serve_options.h"

namespace pagewire::cli {

/// Prints it. Returns the exit status: 1 where the name leads to no file, with the reason on
/// standard error. settings.server.paths must have been filled.
int explain(const ServeSettings& settings);

}  // namespace pagewire::cli
