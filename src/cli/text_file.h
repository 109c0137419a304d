// Text files that a command is given: configurations, reports, calibrations.
#pragma once

#include <string>

#include "base/result.h"

namespace pagewire::cli {

/// A whole text file. Errors: those of open(2) and read(2); EISDIR when the name is a folder's.
Result<std::string> read_whole(const std::string& name);

}  // namespace pagewire::cli
